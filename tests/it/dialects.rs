//! The documented APIs, each as its clients see it.

mod tiki;
