//! What nobody in an overlay knows: all ids that there are, and who is closest to what.

use holdfast_kademlia::Id;

/// Ids and whose they are, sorted.
#[derive(Clone, Debug, Default)]
pub struct Census {
    entries: Vec<(Id, u32)>,
}

impl Census {
    /// Of these; each id once.
    pub fn of(entries: impl Iterator<Item = (Id, u32)>) -> Self {
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable();
        Census { entries }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All, in the order of ids.
    pub fn entries(&self) -> &[(Id, u32)] {
        &self.entries
    }

    /// Adds one.
    pub fn add(&mut self, id: Id, node: u32) {
        let place = self.entries.partition_point(|entry| *entry < (id, node));
        self.entries.insert(place, (id, node));
    }

    /// Takes one out; whether it was there.
    pub fn remove(&mut self, id: Id, node: u32) -> bool {
        match self.entries.binary_search(&(id, node)) {
            Ok(place) => {
                self.entries.remove(place);
                true
            }
            Err(_) => false,
        }
    }

    /// The `count` closest to `target` but `besides`, closest first.
    pub fn closest(&self, target: Id, count: usize, besides: Option<u32>) -> Vec<(Id, u32)> {
        let mut found = Vec::with_capacity(count);
        gather(&self.entries, target, 0, count, besides, &mut found);
        found
    }
}

/// Appends the closest of `entries`, which share `depth` bits: first those that share the next bit with the target.
fn gather(
    entries: &[(Id, u32)],
    target: Id,
    depth: u32,
    count: usize,
    besides: Option<u32>,
    found: &mut Vec<(Id, u32)>,
) {
    if found.len() >= count || entries.is_empty() {
        return;
    }
    if let [entry] = entries {
        if Some(entry.1) != besides {
            found.push(*entry);
        }
        return;
    }
    if depth == Id::BITS {
        let wanted = entries.iter().filter(|entry| Some(entry.1) != besides);
        found.extend(wanted.take(count - found.len()));
        return;
    }
    let middle = entries.partition_point(|(id, _)| !id.bit(depth));
    let (zeros, ones) = entries.split_at(middle);
    let (near, far) = match target.bit(depth) {
        false => (zeros, ones),
        true => (ones, zeros),
    };
    gather(near, target, depth + 1, count, besides, found);
    gather(far, target, depth + 1, count, besides, found);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    #[test]
    fn the_closest_are_those_that_a_full_search_finds() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut all: Vec<(Id, u32)> = (0..500).map(|n| (Id::random(&mut rng), n)).collect();
        let mut census = Census::of(all.iter().copied());
        let (id, node) = all.swap_remove(17);
        assert!(census.remove(id, node) && !census.remove(id, node));
        let late = (Id::random(&mut rng), 500);
        census.add(late.0, late.1);
        all.push(late);
        assert!(census.entries().is_sorted() && census.len() == 500);
        for n in 0..200 {
            let target = match n % 2 {
                0 => Id::random(&mut rng),
                _ => all[n].0.random_with_prefix(150, &mut rng),
            };
            let besides = all[n].1;
            let mut expected = all.clone();
            expected.retain(|entry| entry.1 != besides);
            expected.sort_unstable_by_key(|entry| target.distance(entry.0));
            expected.truncate(8);
            assert_eq!(census.closest(target, 8, Some(besides)), expected);
        }
        assert_eq!(census.closest(late.0, 1_000, None).len(), 500);
    }
}
