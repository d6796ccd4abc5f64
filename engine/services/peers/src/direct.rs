//! Datagrams between local nodes that do not go through the network.

use crate::local::Local;
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    ops::Range,
};

/// Most that wait for the ones before them; more are lost, as they would be in a socket.
const MAX_WAITING: usize = 65_536;

/// A datagram under way.
pub(crate) struct Parcel {
    /// The socket that it is for.
    pub socket: u32,
    pub from: SocketAddr,
    /// Where its bytes are.
    bytes: Range<usize>,
}

/// Datagrams and their bytes, in the order in which they were sent.
#[derive(Default)]
struct Batch {
    parcels: VecDeque<Parcel>,
    bytes: Vec<u8>,
}

/// Those under way.
#[derive(Default)]
pub(crate) struct Direct {
    /// Which socket is where.
    sockets: BTreeMap<SocketAddr, u32>,
    /// Those that are being delivered, and those that were sent meanwhile: a buffer is used again when all of it was
    /// delivered.
    batches: [Batch; 2],
}

impl Direct {
    /// Between all these; one that listens on no address in particular is left to the network.
    pub fn of(locals: &[Local]) -> Direct {
        let mut sockets = BTreeMap::new();
        for (number, local) in (0..).zip(locals) {
            let v4 = local.v4.as_ref().map(|half| SocketAddr::V4(half.address));
            let v6 = local.v6.as_ref().map(|half| SocketAddr::V6(half.address));
            for (side, address) in [v4, v6].into_iter().enumerate() {
                if let Some(address) = address.filter(|address| !address.ip().is_unspecified()) {
                    sockets.insert(address, number * 2 + side as u32);
                }
            }
        }
        Direct {
            sockets,
            ..Direct::default()
        }
    }

    /// Takes a datagram that is for a local node; false: it is not, or not from one that can be answered.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> bool {
        if from.ip().is_unspecified() {
            return false;
        }
        let Some(socket) = self.sockets.get(&to).copied() else {
            return false;
        };
        let batch = &mut self.batches[1];
        if batch.parcels.len() < MAX_WAITING {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(bytes);
            let bytes = start..batch.bytes.len();
            batch.parcels.push_back(Parcel {
                socket,
                from,
                bytes,
            });
        }
        true
    }

    /// The next one.
    pub fn next(&mut self) -> Option<Parcel> {
        if self.batches[0].parcels.is_empty() {
            self.batches[0].bytes.clear();
            self.batches.swap(0, 1);
        }
        self.batches[0].parcels.pop_front()
    }

    /// What the last one that was taken holds.
    pub fn bytes(&self, parcel: &Parcel) -> &[u8] {
        &self.batches[0].bytes[parcel.bytes.clone()]
    }

    pub fn is_empty(&self) -> bool {
        self.batches.iter().all(|batch| batch.parcels.is_empty())
    }
}
