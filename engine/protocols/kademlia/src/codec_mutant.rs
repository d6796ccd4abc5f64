/// A bug of the zoo, planted in how datagrams are read. Readers of bencode and KRPC have had such. Has an effect only
/// where debug assertions are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecMutant {
    /// Integers may begin with zeros, and zero may have a sign.
    LeadingZeros,
    /// The length of a string is counted in a machine word, and what goes beyond it is lost.
    LengthWraps,
    /// Nobody counts how deep lists and dictionaries are in each other.
    DepthUnchecked,
    /// A peer may be announced at port 0: it is taken for the port that the datagram comes from.
    PortZero,
}

impl CodecMutant {
    /// Whether this is the one that was planted.
    pub(crate) fn is_in(self, planted: Option<CodecMutant>) -> bool {
        cfg!(debug_assertions) && planted == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    fn is_read(what: &[u8], planted: Option<CodecMutant>) -> bool {
        let datagram = [
            b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t1:t1:y1:q1:z",
            what,
            b"e",
        ]
        .concat();
        Message::decode_planted(&datagram, planted).is_ok()
    }

    #[test]
    fn each_reads_what_has_to_be_refused() {
        let cases: [(&[u8], CodecMutant); 4] = [
            (b"i007e", CodecMutant::LeadingZeros),
            (b"i-0e", CodecMutant::LeadingZeros),
            (b"18446744073709551619:abc", CodecMutant::LengthWraps),
            (b"i7e", CodecMutant::PortZero),
        ];
        for (what, mutant) in cases {
            let is_wellformed = mutant == CodecMutant::PortZero;
            assert_eq!(is_read(what, None), is_wellformed);
            let is_let_pass = is_wellformed || cfg!(debug_assertions);
            assert_eq!(is_read(what, Some(mutant)), is_let_pass, "{mutant:?}");
        }
    }

    #[test]
    fn port_zero_is_announced_by_the_mutant_alone() {
        let datagram = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa9:info_hash20:bbbbbbbbbbbbbbbbbbbb4:porti0e5:token1:xe\
1:q13:announce_peer1:t1:t1:y1:qe";
        assert!(Message::decode(datagram).is_err());
        let planted = Message::decode_planted(datagram, Some(CodecMutant::PortZero));
        assert_eq!(planted.is_ok(), cfg!(debug_assertions));
    }
}
