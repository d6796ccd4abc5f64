//! The production host: an operating system, reached through tokio.
