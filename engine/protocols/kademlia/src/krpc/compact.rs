//! Addresses, contacts and ids in the fixed sizes in which they travel (BEP 5, "Contact Encoding"; BEP 32).

use super::{Problem, bencode};
use crate::Id;
use crate::bencode::{Decoder, List, Raw, Value};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::slice;

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::net::SocketAddrV4 {}
    impl Sealed for std::net::SocketAddrV6 {}
}

/// An address and a port of one family: [`SocketAddrV4`] or [`SocketAddrV6`].
pub trait Endpoint:
    sealed::Sealed + Copy + Ord + fmt::Debug + fmt::Display + Into<SocketAddr>
{
    /// Bytes in its compact form: the address, then the port, both big-endian.
    const LEN: usize;

    /// The endpoint of a compact form of [`Endpoint::LEN`] bytes, whatever it is good for.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// Appends the compact form. Flow and scope of IPv6 have no place in it.
    fn write(self, out: &mut Vec<u8>);

    /// The same address with another port.
    fn with_port(self, port: u16) -> Self;

    /// Its IP address.
    #[inline]
    fn ip_address(self) -> IpAddr {
        self.into().ip()
    }

    /// Whether a datagram can be sent there at all. It cannot to port 0, to an unspecified or a multicast address, nor
    /// to broadcast; an IPv4 address in IPv6's clothes is one that the IPv6 DHT cannot reach.
    ///
    /// Private and loopback addresses are good: whether a node wants them is its own matter.
    fn is_contactable(self) -> bool;

    /// The contacts of this family in a reply.
    fn contacts<'a>(reply: &super::Reply<'a>) -> Option<Contacts<'a, Self>>;

    /// Puts contacts of this family into a reply.
    fn put_contacts<'a>(reply: &mut super::Reply<'a>, contacts: Contacts<'a, Self>);

    /// Puts peers of this family into a reply.
    fn put_peers<'a>(reply: &mut super::Reply<'a>, peers: &'a [Self]);
}

impl Endpoint for SocketAddrV4 {
    const LEN: usize = 6;

    #[inline]
    fn read(bytes: &[u8]) -> Option<SocketAddrV4> {
        let [a, b, c, d, high, low] = *bytes else {
            return None;
        };
        let port = u16::from_be_bytes([high, low]);
        Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) {
        let [a, b, c, d] = self.ip().octets();
        let [high, low] = self.port().to_be_bytes();
        out.extend_from_slice(&[a, b, c, d, high, low]);
    }

    #[inline]
    fn with_port(mut self, port: u16) -> SocketAddrV4 {
        self.set_port(port);
        self
    }

    #[inline]
    fn is_contactable(self) -> bool {
        let ip = self.ip();
        self.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast()
    }

    #[inline]
    fn contacts<'a>(reply: &super::Reply<'a>) -> Option<Contacts<'a, Self>> {
        reply.nodes
    }

    #[inline]
    fn put_contacts<'a>(reply: &mut super::Reply<'a>, contacts: Contacts<'a, Self>) {
        reply.nodes = Some(contacts);
    }

    #[inline]
    fn put_peers<'a>(reply: &mut super::Reply<'a>, peers: &'a [Self]) {
        reply.peers = peers.into();
    }
}

impl Endpoint for SocketAddrV6 {
    const LEN: usize = 18;

    #[inline]
    fn read(bytes: &[u8]) -> Option<SocketAddrV6> {
        let (ip, port) = bytes.split_first_chunk::<16>()?;
        let port = u16::from_be_bytes(port.try_into().ok()?);
        Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, 0))
    }

    #[inline]
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ip().octets());
        out.extend_from_slice(&self.port().to_be_bytes());
    }

    #[inline]
    fn with_port(mut self, port: u16) -> SocketAddrV6 {
        self.set_port(port);
        self
    }

    #[inline]
    fn is_contactable(self) -> bool {
        let ip = self.ip();
        let is_ipv4 = ip.to_ipv4_mapped().is_some();
        self.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !is_ipv4
    }

    #[inline]
    fn contacts<'a>(reply: &super::Reply<'a>) -> Option<Contacts<'a, Self>> {
        reply.nodes6
    }

    #[inline]
    fn put_contacts<'a>(reply: &mut super::Reply<'a>, contacts: Contacts<'a, Self>) {
        reply.nodes6 = Some(contacts);
    }

    #[inline]
    fn put_peers<'a>(reply: &mut super::Reply<'a>, peers: &'a [Self]) {
        reply.peers = peers.into();
    }
}

/// The address of either family that a compact form is, by its length.
#[inline]
pub(super) fn any_address(bytes: &[u8]) -> Option<SocketAddr> {
    match bytes.len() {
        SocketAddrV4::LEN => SocketAddrV4::read(bytes).map(SocketAddr::V4),
        SocketAddrV6::LEN => SocketAddrV6::read(bytes).map(SocketAddr::V6),
        _ => None,
    }
}

/// A node of the DHT: its id and where it is reached. In IPv4 it takes the 26 bytes of its compact form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact<A> {
    /// Its id.
    pub id: Id,
    /// Where it is reached.
    pub address: A,
}

/// A node of the IPv4 DHT.
pub type ContactV4 = Contact<SocketAddrV4>;
/// A node of the IPv6 DHT.
pub type ContactV6 = Contact<SocketAddrV6>;

impl<A: Endpoint> Contact<A> {
    /// Bytes in its compact form (BEP 5, "Compact node info"): id, address, port. 26 in IPv4, 38 in IPv6.
    pub const LEN: usize = Id::LEN + A::LEN;

    /// The contact of a compact form of [`Contact::LEN`] bytes, whatever it is good for.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Contact<A>> {
        let (id, address) = bytes.split_first_chunk::<{ Id::LEN }>()?;
        let id = Id::new(*id);
        A::read(address).map(|address| Contact { id, address })
    }

    /// Appends the compact form.
    #[inline]
    pub fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        self.address.write(out);
    }
}

/// The contacts of a reply (`nodes`, or BEP 32's `nodes6`): as they were received, or a slice to send.
///
/// Bytes behind the last whole contact are passed over, as is done in the field.
#[derive(Clone, Copy)]
pub struct Contacts<'a, A>(Form<'a, Contact<A>>);

/// The ids of a reply (BEP 51's `samples`): as they were received, or a slice to send. Bytes behind the last whole id
/// are passed over.
#[derive(Clone, Copy)]
pub struct Ids<'a>(Form<'a, Id>);

/// What is the same in both directions.
#[derive(Clone, Copy)]
enum Form<'a, T> {
    Compact(&'a [u8]),
    Slice(&'a [T]),
}

impl<T> Form<'_, T> {
    fn count(&self, size: usize) -> usize {
        match self {
            Form::Compact(bytes) => bytes.len() / size,
            Form::Slice(slice) => slice.len(),
        }
    }

    /// Writes what was received as it was received.
    fn write(&self, out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
        match self {
            Form::Compact(bytes) => out.extend_from_slice(bytes),
            Form::Slice(slice) => slice.iter().for_each(|item| write(item, out)),
        }
    }

    fn byte_len(&self, size: usize) -> usize {
        match self {
            Form::Compact(bytes) => bytes.len(),
            Form::Slice(slice) => slice.len() * size,
        }
    }
}

/// Either way of going over a [`Form`], without a box.
fn iterate<'a, T: Copy + 'a>(
    form: Form<'a, T>,
    size: usize,
    read: impl Fn(&'a [u8]) -> Option<T> + 'a,
) -> impl Iterator<Item = T> + 'a {
    let (bytes, slice): (&'a [u8], &'a [T]) = match form {
        Form::Compact(bytes) => (bytes, &[]),
        Form::Slice(slice) => (&[], slice),
    };
    let received = bytes.chunks_exact(size).filter_map(read);
    received.chain(slice.iter().copied())
}

impl<'a, A: Endpoint> Contacts<'a, A> {
    /// The contacts of a compact form.
    pub fn compact(bytes: &'a [u8]) -> Contacts<'a, A> {
        Contacts(Form::Compact(bytes))
    }

    /// The same without the last `count`.
    pub fn without_last(&self, count: usize) -> Contacts<'a, A> {
        let kept = self.count().saturating_sub(count);
        Contacts(match self.0 {
            Form::Compact(bytes) => Form::Compact(&bytes[..kept * Contact::<A>::LEN]),
            Form::Slice(slice) => Form::Slice(&slice[..kept]),
        })
    }

    /// How many there are, with those that cannot be contacted.
    pub fn count(&self) -> usize {
        self.0.count(Contact::<A>::LEN)
    }

    /// Those that can be contacted.
    pub fn iter(&self) -> impl Iterator<Item = Contact<A>> + use<'a, A> {
        iterate(self.0, Contact::<A>::LEN, Contact::read)
            .filter(|contact| contact.address.is_contactable())
    }

    pub(super) fn byte_len(&self) -> usize {
        self.0.byte_len(Contact::<A>::LEN)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out, |contact, out| contact.write(out));
    }
}

impl<'a> Ids<'a> {
    /// The ids of a compact form.
    pub fn compact(bytes: &'a [u8]) -> Ids<'a> {
        Ids(Form::Compact(bytes))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.count(Id::LEN)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Id> + 'a {
        iterate(self.0, Id::LEN, Id::from_slice)
    }

    pub(super) fn byte_len(&self) -> usize {
        self.0.byte_len(Id::LEN)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.0
            .write(out, |id, out| out.extend_from_slice(id.as_bytes()));
    }
}

impl<'a, A> From<&'a [Contact<A>]> for Contacts<'a, A> {
    fn from(contacts: &'a [Contact<A>]) -> Contacts<'a, A> {
        Contacts(Form::Slice(contacts))
    }
}

impl<'a> From<&'a [Id]> for Ids<'a> {
    fn from(ids: &'a [Id]) -> Ids<'a> {
        Ids(Form::Slice(ids))
    }
}

/// The peers of a reply to `get_peers` (`values`): as they were received, or a slice to send.
///
/// A list that is received may mix both families (BEP 32, "values"); what is no address in it is passed over. One that
/// is sent has one family, by its type.
#[derive(Clone, Copy)]
pub struct Peers<'a>(PeersForm<'a>);

#[derive(Clone, Copy)]
enum PeersForm<'a> {
    List(Raw<'a>),
    V4(&'a [SocketAddrV4]),
    V6(&'a [SocketAddrV6]),
}

impl<'a> Peers<'a> {
    /// No peers.
    pub const NONE: Peers<'static> = Peers(PeersForm::V4(&[]));

    pub(super) fn read(value: Option<Value<'a>>) -> Result<Peers<'a>, Problem> {
        match value {
            Some(Value::List(list)) => Ok(Peers(PeersForm::List(list))),
            Some(_) => Err(Problem::WrongType("values")),
            None => Ok(Peers::NONE),
        }
    }

    /// Those that can be contacted.
    pub fn iter(&self) -> PeersIter<'a> {
        PeersIter(match self.0 {
            PeersForm::List(list) => {
                let mut decoder = list.decoder();
                match decoder.list() {
                    Ok(()) => PeersIterForm::List(decoder),
                    // It was read before, so it is a list.
                    Err(_) => PeersIterForm::V4([].iter()),
                }
            }
            PeersForm::V4(peers) => PeersIterForm::V4(peers.iter()),
            PeersForm::V6(peers) => PeersIterForm::V6(peers.iter()),
        })
    }

    /// Whether the reply has no list of peers.
    pub(super) fn is_absent(&self) -> bool {
        match self.0 {
            PeersForm::List(_) => false,
            PeersForm::V4(peers) => peers.is_empty(),
            PeersForm::V6(peers) => peers.is_empty(),
        }
    }

    /// Without so many from the end that the list is at least `bytes` shorter; `None` if there are not as many, or if
    /// they were received.
    pub(super) fn without_last(self, bytes: usize) -> Option<Peers<'a>> {
        // What an element of the list takes: `6:` or `18:` before the address.
        let fewer = |have: usize, size: usize| have.checked_sub(bytes.div_ceil(size));
        Some(Peers(match self.0 {
            PeersForm::List(_) => return None,
            PeersForm::V4(peers) => {
                PeersForm::V4(&peers[..fewer(peers.len(), SocketAddrV4::LEN + 2)?])
            }
            PeersForm::V6(peers) => {
                PeersForm::V6(&peers[..fewer(peers.len(), SocketAddrV6::LEN + 3)?])
            }
        }))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        fn each<A: Endpoint>(peers: &[A], list: &mut List<'_>) {
            for peer in peers {
                list.bytes_with(A::LEN, |out| peer.write(out));
            }
        }
        match self.0 {
            PeersForm::List(list) => out.extend_from_slice(list.bytes()),
            PeersForm::V4(peers) => bencode::write_list(out, |list| each(peers, list)),
            PeersForm::V6(peers) => bencode::write_list(out, |list| each(peers, list)),
        }
    }
}

/// Goes over [`Peers`].
#[derive(Clone, Debug)]
pub struct PeersIter<'a>(PeersIterForm<'a>);

#[derive(Clone, Debug)]
enum PeersIterForm<'a> {
    List(Decoder<'a>),
    V4(slice::Iter<'a, SocketAddrV4>),
    V6(slice::Iter<'a, SocketAddrV6>),
}

impl Iterator for PeersIter<'_> {
    type Item = SocketAddr;

    #[inline]
    fn next(&mut self) -> Option<SocketAddr> {
        loop {
            let address = match &mut self.0 {
                PeersIterForm::List(decoder) => match decoder.element() {
                    Ok(Some(Value::Bytes(bytes))) => any_address(bytes),
                    Ok(Some(_)) => None,
                    Ok(None) | Err(_) => return None,
                },
                PeersIterForm::V4(peers) => peers.next().map(|peer| Some(SocketAddr::V4(*peer)))?,
                PeersIterForm::V6(peers) => peers.next().map(|peer| Some(SocketAddr::V6(*peer)))?,
            };
            let is_contactable = address.is_some_and(|address| match address {
                SocketAddr::V4(address) => address.is_contactable(),
                SocketAddr::V6(address) => address.is_contactable(),
            });
            if is_contactable {
                return address;
            }
        }
    }
}

impl<'a> From<&'a [SocketAddrV4]> for Peers<'a> {
    fn from(peers: &'a [SocketAddrV4]) -> Peers<'a> {
        Peers(PeersForm::V4(peers))
    }
}

impl<'a> From<&'a [SocketAddrV6]> for Peers<'a> {
    fn from(peers: &'a [SocketAddrV6]) -> Peers<'a> {
        Peers(PeersForm::V6(peers))
    }
}

/// What was received is compared with what is sent by what it means.
macro_rules! by_what_it_holds {
    ($($head:tt)*) => {
        impl $($head)* {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }
    };
}

by_what_it_holds!(<A: Endpoint> PartialEq for Contacts<'_, A>);
by_what_it_holds!(PartialEq for Ids<'_>);
by_what_it_holds!(PartialEq for Peers<'_>);

impl<A: Endpoint> Eq for Contacts<'_, A> {}
impl Eq for Ids<'_> {}
impl Eq for Peers<'_> {}

impl<A: Endpoint> fmt::Debug for Contacts<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Peers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
