//! The AWS engine: DynamoDB, SQS and KMS behind the ports.
