//! HTTP and TLS over a [`Host`](holdfast_host::Host): what hyper and rustls ask of a runtime, and a client.
