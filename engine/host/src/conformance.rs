//! One suite for every host: what the traits promise, as assertions.
