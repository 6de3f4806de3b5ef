//! OAuth2 over HTTP (RFC 6749), for dialects that document it: each has a [`Profile`].

use http::{
    HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, LOCATION, PRAGMA, REFERRER_POLICY, WWW_AUTHENTICATE},
};
use serde_json::{Map, Value, json};

use super::{
    Call, Context, Request, Response, answer, oauth_page,
    oauth_params::{self, DECISION, KEY, Parameters},
};
use crate::{
    error::Error,
    model::{Challenge, Secret},
    oauth::{Asking, ConsentRequest, Decision, Offer, Refusal, SentBack, Terms, TokenRequest, Tokens, Wish},
    operation::{Operation, Outcome},
};

/// How a dialect documents its OAuth2.
pub(super) struct Profile {
    /// Its scopes and lifetimes.
    pub(super) terms: Terms,
    /// The path at which somebody is asked.
    pub(super) authorize: &'static str,
    /// The path at which tokens are given.
    pub(super) token: &'static str,
    /// The content type of its JSON.
    pub(super) json: &'static str,
    /// The fields of the answer that has tokens, in the order of its documents.
    pub(super) tokens: &'static [&'static str],
    /// What a client is told besides when access is denied.
    pub(super) denied: &'static [(&'static str, &'static str)],
}

/// The endpoints of RFC 6749, 3.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Authorize,
    Token,
}

impl Profile {
    /// What a path means.
    pub(super) fn endpoint(&self, path: &str) -> Option<Endpoint> {
        match path {
            _ if path == self.authorize => Some(Endpoint::Authorize),
            _ if path == self.token => Some(Endpoint::Token),
            _ => None,
        }
    }

    /// Reads a request.
    pub(super) fn decode(&'static self, endpoint: Endpoint, request: &Request) -> Vec<Call> {
        let (credentials, operation) = match self.read(endpoint, request) {
            Ok((client, operation)) => (client.into_iter().collect(), Ok(operation)),
            Err(error) => (Vec::new(), Err(error)),
        };
        vec![Call { credentials, operation }]
    }

    fn read(
        &'static self,
        endpoint: Endpoint,
        request: &Request,
    ) -> Result<(Option<Secret>, Operation), Error> {
        match (endpoint, request.method()) {
            (Endpoint::Authorize, &Method::GET) => {
                let asked = self.consent(&Parameters::of_query(request)?)?;
                Ok((None, Operation::AskConsent(Box::new(asked))))
            }
            (Endpoint::Authorize, &Method::POST) => {
                // A key has no place in a URL, which is logged and remembered.
                let parameters = Parameters::of_body(request)?;
                let decision = Decision {
                    allows: parameters.get(DECISION) == Some("allow"),
                    key: parameters.get(KEY).map(|key| Secret::new(key.trim())),
                };
                let asked = self.consent(&parameters)?;
                Ok((None, Operation::SettleConsent(Box::new(asked), decision)))
            }
            (Endpoint::Token, &Method::POST) => {
                let parameters = Parameters::of_either(request)?;
                let client = oauth_params::client(request, &parameters)?;
                let asked = TokenRequest { terms: &self.terms, offer: self.offer(&parameters) };
                Ok((client, Operation::IssueTokens(Box::new(asked))))
            }
            _ => Err(Error::MethodNotAllowed),
        }
    }

    fn consent(&'static self, parameters: &Parameters) -> Result<ConsentRequest, Error> {
        let required = |name| parameters.get(name).ok_or_else(|| Error::invalid(name, "is required"));
        let client = oauth_params::bare(required("client_id")?).parse();
        Ok(ConsentRequest {
            terms: &self.terms,
            client: client.map_err(|_| Error::invalid("client_id", "is no client's"))?,
            redirect_uri: required("redirect_uri")?.to_owned(),
            state: parameters.get("state").map(str::to_owned),
            asked: self.asking(parameters),
        })
    }

    fn asking(&'static self, parameters: &Parameters) -> Result<Asking, Refusal> {
        if parameters.get("response_type") != Some("code") {
            return Err(Refusal::UnsupportedResponseType);
        }
        if parameters.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(Refusal::InvalidRequest("response_mode must be query"));
        }
        let method = parameters.get("code_challenge_method");
        let challenge = match parameters.get("code_challenge") {
            None if method.is_some() => {
                return Err(Refusal::InvalidRequest("code_challenge_method is there without code_challenge"));
            }
            None => None,
            Some(text) => Some(Challenge::read(text, method).ok_or(Refusal::InvalidRequest(
                "code_challenge must be 43 to 128 unreserved characters, its method S256 or plain",
            ))?),
        };
        Ok(Asking { wish: Wish::read(&self.terms, parameters.get("scope"))?, challenge })
    }

    fn offer(&'static self, parameters: &Parameters) -> Result<Offer, Refusal> {
        let scope = parameters.get("scope");
        match parameters.get("grant_type") {
            Some("authorization_code") => Ok(Offer::Code {
                code: parameters.secret("code").ok_or(Refusal::InvalidRequest("code is required"))?,
                redirect_uri: parameters.get("redirect_uri").map(str::to_owned),
                verifier: parameters.secret("code_verifier"),
            }),
            Some("refresh_token") => {
                let token = parameters.secret("refresh_token");
                let token = token.ok_or(Refusal::InvalidRequest("refresh_token is required"))?;
                let wish = scope.map(|scope| Wish::read(&self.terms, Some(scope))).transpose()?;
                Ok(Offer::Refresh { token, wish })
            }
            Some("client_credentials") => Ok(Offer::Nothing(Wish::read(&self.terms, scope)?)),
            Some(_) => Err(Refusal::UnsupportedGrantType),
            None => Err(Refusal::InvalidRequest("grant_type is required")),
        }
    }

    /// Writes the answer.
    pub(super) fn encode(
        &'static self,
        endpoint: Endpoint,
        context: Context<'_>,
        result: Result<Outcome, Error>,
    ) -> Response {
        let mut response = self.answer(endpoint, context.request, result);
        let headers = response.headers_mut();
        // RFC 6749, 5.1: codes and tokens are kept nowhere on their way.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }

    fn answer(
        &'static self,
        endpoint: Endpoint,
        request: &Request,
        result: Result<Outcome, Error>,
    ) -> Response {
        match result {
            Ok(Outcome::TokensIssued(tokens)) => answer(StatusCode::OK, self.json, &self.tokens(&tokens)),
            Ok(Outcome::TokensRefused(refusal)) => {
                self.refused(StatusCode::BAD_REQUEST, refusal.code(), &refusal.to_string())
            }
            Ok(Outcome::ConsentAsked(question)) => {
                let read = if request.method() == Method::GET {
                    Parameters::of_query(request)
                } else {
                    Parameters::of_body(request)
                };
                // In the same folder, for a proxy may stand in front of it.
                let action = self.authorize.rsplit('/').next().unwrap_or_default();
                match read {
                    Ok(parameters) => oauth_page::question(action, &parameters, &question, &self.terms),
                    Err(error) => self.failure(endpoint, &error),
                }
            }
            Ok(Outcome::SentBack(back)) => self.sent_back(&back),
            Ok(other) => {
                let error = Error::Internal(format!("an outcome that OAuth2 has no words for: {other:?}"));
                self.failure(endpoint, &error)
            }
            Err(Error::Unauthenticated) => {
                // What cannot be read names no client either, and what is wrong with it is no secret.
                let error = self.read(endpoint, request).err().unwrap_or(Error::Unauthenticated);
                self.failure(endpoint, &error)
            }
            Err(error) => self.failure(endpoint, &error),
        }
    }

    fn tokens(&self, tokens: &Tokens) -> Map<String, Value> {
        let value = |field: &str| match field {
            "access_token" => Some(json!(tokens.access.reveal())),
            "refresh_token" => tokens.refresh.as_ref().map(|token| json!(token.reveal())),
            "token_type" => Some(json!("bearer")),
            "expires_in" => Some(json!(tokens.lifetime.as_secs())),
            "scope" => Some(json!(tokens.scope)),
            "created_at" => Some(json!(tokens.made_at.as_second())),
            _ => None,
        };
        self.tokens.iter().filter_map(|field| Some(((*field).to_owned(), value(field)?))).collect()
    }

    /// RFC 6749, 4.1.2 and 4.1.2.1.
    fn sent_back(&self, back: &SentBack) -> Response {
        if back.redirect_uri.is_out_of_band() {
            return match &back.result {
                Ok(code) => oauth_page::code(code.reveal()),
                Err(refusal) => oauth_page::failure(StatusCode::BAD_REQUEST, &refusal.to_string()),
            };
        }
        let uri = back.redirect_uri.as_str();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        match &back.result {
            Ok(code) => {
                query.append_pair("code", code.reveal());
            }
            Err(refusal) => {
                query.append_pair("error", refusal.code());
                query.append_pair("error_description", &refusal.to_string());
                if *refusal == Refusal::AccessDenied {
                    query.extend_pairs(self.denied);
                }
            }
        }
        if let Some(state) = &back.state {
            query.append_pair("state", state);
        }
        let between = if uri.contains('?') { '&' } else { '?' };
        let Ok(location) = HeaderValue::from_str(&format!("{uri}{between}{}", query.finish())) else {
            return oauth_page::failure(StatusCode::INTERNAL_SERVER_ERROR, "redirect_uri cannot be sent");
        };
        let mut response = Response::default();
        // RFC 9700, 4.12: with 303 no browser sends on what was posted, a key among it.
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }

    fn refused(&self, status: StatusCode, code: &str, description: &str) -> Response {
        answer(status, self.json, &json!({ "error": code, "error_description": description }))
    }

    fn failure(&self, endpoint: Endpoint, error: &Error) -> Response {
        let (status, code) = match error {
            Error::Unauthenticated => (StatusCode::UNAUTHORIZED, "invalid_client"),
            Error::Forbidden(_) => (StatusCode::FORBIDDEN, "unauthorized_client"),
            Error::Malformed(_)
            | Error::Invalid { .. }
            | Error::UnknownTopic(_)
            | Error::NotFound(_)
            | Error::Conflict(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Error::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request"),
            Error::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Error::Quota(_) | Error::Throttled(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable")
            }
            Error::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable"),
            Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
        };
        let description = match error {
            Error::Unauthenticated => "client_id or client_secret is missing, wrong or expired".to_owned(),
            error => error.to_string(),
        };
        let mut response = match endpoint {
            Endpoint::Authorize => oauth_page::failure(status, &description),
            Endpoint::Token => self.refused(status, code, &description),
        };
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED && endpoint == Endpoint::Token {
            // RFC 6749, 5.2: in the scheme by which a client can show who it is.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oauth\""));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = match endpoint {
                Endpoint::Authorize => "GET, POST",
                Endpoint::Token => "POST",
            };
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}
