/// A bug of the zoo, planted in what a node stores and gives write tokens for. Clients of the DHT have had such. Has an
/// effect only where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreMutant {
    /// The last value that is put is kept, whatever its sequence number.
    LastPutWins,
    /// A put is done over any sequence number that is not lower than its `cas`.
    CasAtLeast,
    /// The signature of a mutable item is not looked at.
    SignatureUnchecked,
    /// All items of a key are stored under the key alone.
    SaltLeftOut,
    /// A value is stored as it was understood: an integer of more than 64 bits loses some.
    ValueReencoded,
    /// A token is as good from any address as from the one that it was given to.
    TokenOfAnyAddress,
    /// Tokens of the period before are worth nothing.
    OldTokenRefused,
    /// `implied_port` is not understood: a peer is stored with the port in the message, with 0 if there is none.
    ImpliedPortIgnored,
}

impl StoreMutant {
    /// Whether this is the one that was planted.
    pub(crate) fn is_in(self, planted: Option<StoreMutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }
}
