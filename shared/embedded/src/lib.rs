//! The embedded engine: SQLite in one file behind the ports.
