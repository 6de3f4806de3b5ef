//! AWS's errors in the words of the domain.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use postrider::error::Error;

/// Codes that pass by themselves. The SDK has tried several times by the time they come here.
const PASSING: [&str; 11] = [
    "InternalServerError",
    "KMSInternalException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServiceUnavailable",
    "ThrottlingException",
    "Throttling",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// For `map_err` on any call: what was being done, and what AWS said of it. Its messages tell of names and
/// conditions, never of values.
pub(crate) fn fault<E: ProvideErrorMetadata>(doing: &'static str) -> impl Fn(SdkError<E>) -> Error {
    move |error| {
        // Whatever the code: a server that failed may do it next time.
        let failed = error.raw_response().is_some_and(|answer| answer.status().is_server_error());
        let code = error.code().map(str::to_owned);
        let Some(code) = code else {
            let kind = match error {
                SdkError::TimeoutError(_) => "no answer in time",
                SdkError::DispatchFailure(_) => "no connection",
                SdkError::ResponseError(_) => "an answer that broke off",
                SdkError::ServiceError(_) => "an answer that says nothing",
                _ => "a request that cannot be built",
            };
            return Error::Unavailable(format!("{doing}: {kind}"));
        };
        let detail = format!("{doing}: {code}: {}", error.message().unwrap_or_default());
        if failed || PASSING.contains(&code.as_str()) {
            Error::Unavailable(detail)
        } else {
            Error::Internal(detail)
        }
    }
}

/// An item that is not as we write them.
pub(crate) fn odd(what: &str) -> Error {
    Error::Internal(format!("an item with an odd {what}"))
}
