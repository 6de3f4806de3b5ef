//! Lambda event types to and from the domain's requests; settings.
