//! A history of a node, as bytes have it: what is sent to it, what it is told to do, and how time passes.
//!
//! Any bytes are a history. Most of what a step has is one byte that chooses among things that there are, so that
//! chance soon says something that matters: an address, an id, a query that waits for its answer.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Most steps of a history.
pub const MAX_OPS: usize = 96;
/// Bytes before the first step.
const HEAD: usize = 2;

/// A step. What a byte of it names is in `world.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Any bytes come from an address.
    Datagram {
        /// From where.
        from: u8,
        /// What.
        bytes: &'a [u8],
    },
    /// Any bytes come as the `r` of a reply to a query that is under way.
    Reply {
        /// To which.
        query: u8,
        /// From where: below 128 from where it is expected.
        from: u8,
        /// The `r`.
        returns: &'a [u8],
    },
    /// A query is answered with an error.
    Error {
        /// Which.
        query: u8,
        /// By its number, some of which nobody knows.
        code: u8,
    },
    /// A query is answered with what looks right.
    Answer {
        /// Which; from 128 on the answer comes from somewhere else.
        query: u8,
        /// Who says that he answers: 0 is who was asked.
        id: u8,
        /// What the answer has, a bit each.
        extras: u8,
        /// Whom it names: an id and an address each.
        named: &'a [u8],
    },
    /// All that were asked answer as they should, and those that are asked then, and so on.
    Answers {
        /// How often.
        rounds: u8,
        /// Who of them is silent.
        silent: u8,
    },
    /// Somebody asks, in good form.
    Ask {
        /// From where.
        from: u8,
        /// Who he says he is.
        id: u8,
        /// What he asks.
        what: u8,
        /// About what.
        target: u8,
        /// How.
        flags: u8,
    },
    /// Time passes.
    Pass(u8),
    /// The node is to look something up, or to store it.
    Command {
        /// What.
        what: u8,
        /// About what.
        target: u8,
        /// How.
        flags: u8,
    },
    /// A lookup is given up.
    Cancel(u8),
    /// The node is told whom to begin with.
    Join(&'a [u8]),
    /// The node saves its table, and is started again with it.
    Restart,
    /// The node is told of contacts that answered: an id and an address each.
    Adopt(&'a [u8]),
}

/// A step, and in which family; `false` is IPv4.
pub type Step<'a> = (bool, Op<'a>);

/// The two bytes that say how the node is set up, and the steps.
pub fn read(input: &[u8]) -> ([u8; HEAD], impl Iterator<Item = Step<'_>>) {
    let mut cursor = Cursor { rest: input };
    let head = [cursor.byte(), cursor.byte()];
    let steps = std::iter::from_fn(move || cursor.step());
    (head, steps.take(MAX_OPS))
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The next byte; 0 behind the end.
    fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => 0,
        }
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// As many bytes as the one or two before them say, about two thousand at most.
    fn bytes(&mut self) -> &'a [u8] {
        let length = match self.byte() {
            high @ 248.. => usize::from(high - 248) << 8 | usize::from(self.byte()),
            length => usize::from(length),
        };
        self.take(length)
    }

    fn pairs(&mut self, most: usize) -> &'a [u8] {
        let count = usize::from(self.byte()) % (most + 1);
        self.take(2 * count)
    }

    fn step(&mut self) -> Option<Step<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let kind = self.byte();
        let op = match (kind >> 1) % 12 {
            0 => Op::Datagram {
                from: self.byte(),
                bytes: self.bytes(),
            },
            1 => Op::Reply {
                query: self.byte(),
                from: self.byte(),
                returns: self.bytes(),
            },
            2 => Op::Error {
                query: self.byte(),
                code: self.byte(),
            },
            3 => Op::Answer {
                query: self.byte(),
                id: self.byte(),
                extras: self.byte(),
                named: self.pairs(40),
            },
            4 => Op::Answers {
                rounds: self.byte(),
                silent: self.byte(),
            },
            5 => Op::Ask {
                from: self.byte(),
                id: self.byte(),
                what: self.byte(),
                target: self.byte(),
                flags: self.byte(),
            },
            6 => Op::Pass(self.byte()),
            7 => Op::Command {
                what: self.byte(),
                target: self.byte(),
                flags: self.byte(),
            },
            8 => Op::Cancel(self.byte()),
            9 => {
                let count = usize::from(self.byte()) % 9;
                Op::Join(self.take(count))
            }
            10 => Op::Restart,
            _ => Op::Adopt(self.pairs(32)),
        };
        Some((kind & 1 == 1, op))
    }
}

/// Where each step begins, and where the last one ends.
fn bounds(input: &[u8]) -> Vec<usize> {
    let rest = input.get(HEAD..).unwrap_or_default();
    let mut cursor = Cursor { rest };
    let mut bounds = Vec::new();
    loop {
        bounds.push(input.len() - cursor.rest.len());
        if cursor.step().is_none() {
            return bounds;
        }
    }
}

/// Changes a history by whole steps: they are taken out, repeated, moved, and new ones come in.
pub fn change(input: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    if input.len() < HEAD {
        input.resize(HEAD, 0);
    }
    for _ in 0..rng.random_range(1..4) {
        let bounds = bounds(input);
        let pick = |rng: &mut ChaCha8Rng| {
            let at = rng.random_range(0..bounds.len());
            let until = (at + rng.random_range(1..4)).min(bounds.len() - 1);
            bounds[at]..bounds[until]
        };
        let (some, place) = (pick(rng), bounds[rng.random_range(0..bounds.len())]);
        match rng.random_range(0..6) {
            0 => drop(input.drain(some)),
            1 => {
                let steps = input[some].to_vec();
                input.splice(place..place, steps);
            }
            // One byte of a step says something else.
            2 if !some.is_empty() => {
                let at = rng.random_range(some);
                input[at] = rng.random();
            }
            // To store something takes a token first: what belongs together comes together.
            3 => {
                let family = rng.random_range(0..2);
                let (from, target) = (rng.random_range(0..64), rng.random_range(0..16));
                let (ask, store) = [(2, 3), (4, 5)][rng.random_range(0..2)];
                let (flags, bad): (u8, bool) = (rng.random(), rng.random_ratio(1, 8));
                let store = store | u8::from(bad) << 7;
                let steps = [
                    [10 | family, from, from, ask, target, flags & !4],
                    [10 | family, from, from, store, target, flags | 4],
                ];
                input.splice(place..place, steps.concat());
            }
            _ => {
                let mut step: Vec<u8> = (0..6).map(|_| rng.random()).collect();
                // Of a kind whose bytes are few, so that nothing behind it is swallowed.
                let kind = [4, 6, 8, 8, 10, 10, 12, 14, 14, 16, 20][rng.random_range(0..11)];
                step[0] = kind | rng.random_range(0..2);
                let mut cursor = Cursor { rest: &step };
                cursor.step();
                let length = step.len() - cursor.rest.len();
                step.truncate(length);
                input.splice(place..place, step);
            }
        }
    }
}
