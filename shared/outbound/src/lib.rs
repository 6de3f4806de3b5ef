//! The way out: a client that reaches no forbidden address.
