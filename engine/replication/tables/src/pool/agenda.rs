use crate::{Effect, End, call::Settled, outbox::Waiting};
use holdfast_host::Moment;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Rows in memory above which no further ones are read.
const MAX_ROWS: usize = 8192;
/// Rows of one lane in memory; more of them stay in the table until these are done.
const MAX_ROWS_OF_LANE: usize = 512;
/// Lanes that are refilled by one read.
const LANES_AT_ONCE: usize = 16;

/// Which rows to read next.
pub(super) struct Wish {
    /// Of one lane, or of all.
    pub lane: Option<String>,
    /// Behind this one.
    pub after: i64,
}

/// A row whose time has come.
pub(super) struct Due {
    pub effect: Effect,
}

#[derive(Default)]
struct Lane {
    ready: VecDeque<Effect>,
    under_way: usize,
    /// Rows behind this one may be in the table and not here.
    left_at: Option<i64>,
    /// Rows of this lane in memory, in whichever state.
    rows: usize,
}

/// The rows of an outbox that a worker has in mind: those that are ready, by lane; those that wait for a time; those
/// under way. Lanes take turns.
#[derive(Default)]
pub(super) struct Agenda {
    lanes: BTreeMap<String, Lane>,
    /// Lanes that have something ready, in the order in which it is their turn.
    turns: VecDeque<String>,
    in_turn: BTreeSet<String>,
    later: BTreeMap<(Moment, i64), Effect>,
    under_way: BTreeMap<i64, Effect>,
    /// Rows under way that may have been taken back: they were not seen in the table since.
    suspects: BTreeSet<i64>,
    rows: usize,
    read_to: i64,
    has_all: bool,
}

impl Agenda {
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Which attempt of a row is under way.
    pub fn attempt_of(&self, id: i64) -> Option<u32> {
        self.under_way.get(&id).map(|effect| effect.attempts)
    }

    /// Whether rows may be in the table that there is room for by now.
    pub fn wants_more(&self) -> bool {
        (!self.has_all && self.rows < MAX_ROWS) || self.lanes.values().any(wants_refill)
    }

    /// What to read now.
    pub fn wishes(&self) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for (name, lane) in self.lanes.iter().filter(|(_, lane)| wants_refill(lane)) {
            if wishes.len() == LANES_AT_ONCE {
                break;
            }
            wishes.push(Wish {
                lane: Some(name.clone()),
                after: lane.left_at.expect("it wants a refill"),
            });
        }
        if self.rows < MAX_ROWS {
            wishes.push(Wish {
                lane: None,
                after: self.read_to,
            });
        }
        wishes
    }

    /// Takes in what was read: fewer than `asked` rows mean that there are no more.
    pub fn add(&mut self, now: Moment, wish: Wish, rows: Vec<Waiting>, asked: usize) {
        let is_all = rows.len() < asked;
        match &wish.lane {
            None => self.has_all = is_all,
            Some(lane) => {
                let lane = self.lanes.entry(lane.clone()).or_default();
                let last = rows.last().map(|row| row.effect.id);
                // What was read of all lanes ends there: the rest of this one comes with the others.
                lane.left_at = last.filter(|last| !is_all && *last < self.read_to);
            }
        }
        for row in rows {
            let id = row.effect.id;
            let is_known = match wish.lane {
                // Read already with all others and kept, or not kept and read with its lane.
                Some(_) => id > self.read_to,
                None => {
                    let is_old = id <= self.read_to;
                    self.read_to = self.read_to.max(id);
                    is_old
                }
            };
            if self.under_way.contains_key(&id) {
                self.suspects.remove(&id);
                continue;
            }
            if is_known {
                continue;
            }
            let lane = self.lanes.entry(row.effect.lane.clone()).or_default();
            if wish.lane.is_none() && (lane.left_at.is_some() || lane.rows >= MAX_ROWS_OF_LANE) {
                lane.left_at.get_or_insert(id - 1);
                continue;
            }
            lane.rows += 1;
            self.rows += 1;
            if row.delay.is_zero() {
                self.make_ready(row.effect);
            } else {
                let at = now.saturating_add(row.delay);
                self.later.insert((at, id), row.effect);
            }
        }
    }

    /// Forgets every row that is not under way: what is still in the table is read again. A row under way that is not
    /// seen there is not tried again.
    pub fn forget_waiting(&mut self) {
        self.suspects.extend(self.under_way.keys());
        for effect in std::mem::take(&mut self.later).into_values() {
            let lane = self.lanes.get_mut(&effect.lane);
            lane.expect("lanes of known rows are known").rows -= 1;
            self.rows -= 1;
        }
        for lane in self.lanes.values_mut() {
            lane.rows -= lane.ready.len();
            self.rows -= lane.ready.len();
            lane.ready.clear();
            lane.left_at = None;
        }
        self.lanes.retain(|_, lane| lane.rows > 0);
        self.turns.clear();
        self.in_turn.clear();
        self.read_to = 0;
        self.has_all = false;
    }

    /// The next row to begin with, if a lane has one and room for it.
    pub fn next(&mut self, now: Moment, per_lane: usize) -> Option<Due> {
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= now
        {
            let effect = first.remove();
            self.make_ready(effect);
        }
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let lane = self.lanes.get_mut(&name).expect("lanes in turn are known");
            if lane.under_way >= per_lane {
                // It comes back when one of its rows has ended.
                self.in_turn.remove(&name);
                continue;
            }
            let effect = lane.ready.pop_front().expect("lanes in turn have rows");
            lane.under_way += 1;
            if lane.ready.is_empty() {
                self.in_turn.remove(&name);
            } else {
                self.turns.push_back(name);
            }
            self.under_way.insert(effect.id, effect.clone());
            return Some(Due { effect });
        }
        None
    }

    /// When `next` will have something that it has not now, unless a row ends before.
    pub fn next_at(&self, per_lane: usize) -> Option<Moment> {
        let has_turn = self.turns.iter().any(|name| {
            let lane = self.lanes.get(name);
            lane.is_some_and(|lane| lane.under_way < per_lane)
        });
        match has_turn {
            true => Some(Moment::from_nanos(0)),
            false => self.later.keys().next().map(|(at, _)| *at),
        }
    }

    /// An attempt's end was taken in: the row is gone, or waits for the next.
    pub fn settled(&mut self, now: Moment, settled: &Settled) {
        let Some(mut effect) = self.under_way.remove(&settled.id) else {
            return;
        };
        let is_gone = self.suspects.remove(&settled.id);
        let name = effect.lane.clone();
        let lane = self
            .lanes
            .get_mut(&name)
            .expect("lanes under way are known");
        lane.under_way -= 1;
        match &settled.end {
            End::Retry { after, reason }
                if !is_gone && effect.attempts + 1 < crate::MAX_ATTEMPTS =>
            {
                effect.attempts += 1;
                effect.last_reason.clone_from(reason);
                let at = now.saturating_add(*after);
                self.later.insert((at, effect.id), effect);
            }
            _ => {
                lane.rows -= 1;
                self.rows -= 1;
            }
        }
        let lane = self.lanes.get_mut(&name).expect("seen above");
        if !lane.ready.is_empty() {
            self.take_turn(name);
        } else if lane.rows == 0 && lane.left_at.is_none() {
            self.lanes.remove(&name);
        }
    }

    fn make_ready(&mut self, effect: Effect) {
        let name = effect.lane.clone();
        let lane = self.lanes.entry(name.clone()).or_default();
        lane.ready.push_back(effect);
        self.take_turn(name);
    }

    fn take_turn(&mut self, name: String) {
        if self.in_turn.insert(name.clone()) {
            self.turns.push_back(name);
        }
    }
}

fn wants_refill(lane: &Lane) -> bool {
    lane.left_at.is_some() && lane.rows <= MAX_ROWS_OF_LANE / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;

    const NOW: Moment = Moment::from_nanos(1_000);

    fn row(id: i64, lane: &str) -> Waiting {
        Waiting {
            effect: Effect {
                id,
                lane: lane.into(),
                attempts: 0,
                last_reason: String::new(),
                payload: Bytes::new(),
            },
            delay: Duration::ZERO,
        }
    }

    fn all() -> Wish {
        Wish {
            lane: None,
            after: 0,
        }
    }

    fn done(id: i64) -> Settled {
        Settled {
            id,
            attempt: 0,
            end: End::Done(Bytes::new()),
        }
    }

    fn started(agenda: &mut Agenda, per_lane: usize) -> Vec<i64> {
        std::iter::from_fn(|| agenda.next(NOW, per_lane).map(|due| due.effect.id)).collect()
    }

    #[test]
    fn lanes_take_turns_and_have_a_few_rows_under_way_each() {
        let mut agenda = Agenda::default();
        let rows = vec![row(1, "a"), row(2, "a"), row(3, "a"), row(4, "b")];
        agenda.add(NOW, all(), rows, 256);
        assert_eq!(started(&mut agenda, 2), [1, 4, 2]);
        agenda.settled(NOW, &done(1));
        assert_eq!(started(&mut agenda, 2), [3]);
        for id in [2, 3, 4] {
            agenda.settled(NOW, &done(id));
        }
        assert!(agenda.is_empty());
        assert!(
            agenda.lanes.is_empty(),
            "nothing is remembered of what is done"
        );
    }

    #[test]
    fn what_is_tried_again_waits() {
        let mut agenda = Agenda::default();
        agenda.add(NOW, all(), vec![row(1, "a")], 256);
        assert_eq!(started(&mut agenda, 2), [1]);
        let end = End::Retry {
            after: Duration::from_nanos(5),
            reason: String::new(),
        };
        let retry = Settled {
            id: 1,
            attempt: 0,
            end,
        };
        agenda.settled(NOW, &retry);
        assert_eq!(started(&mut agenda, 2), [] as [i64; 0]);
        let later = NOW.saturating_add(Duration::from_nanos(5));
        assert_eq!(agenda.next_at(2), Some(later));
        let due = agenda.next(later, 2).expect("its time has come");
        assert_eq!((due.effect.id, due.effect.attempts), (1, 1));
    }

    #[test]
    fn what_was_taken_back_is_not_begun() {
        let mut agenda = Agenda::default();
        let rows = vec![row(1, "a"), row(2, "a"), row(3, "a"), row(4, "b")];
        agenda.add(NOW, all(), rows, 256);
        assert_eq!(started(&mut agenda, 1), [1, 4]);
        let end = End::Retry {
            after: Duration::from_nanos(5),
            reason: String::new(),
        };
        agenda.settled(
            NOW,
            &Settled {
                id: 4,
                attempt: 0,
                end,
            },
        );
        agenda.forget_waiting();
        assert!(agenda.wants_more());
        // 2 and 4 are gone; 1 is still under way.
        agenda.add(NOW, all(), vec![row(1, "a"), row(3, "a")], 256);
        assert_eq!(started(&mut agenda, 1), [] as [i64; 0]);
        agenda.settled(NOW, &done(1));
        assert_eq!(started(&mut agenda, 1), [3]);
        // 3 is taken back while it is under way: it is not tried again.
        agenda.forget_waiting();
        agenda.add(NOW, all(), Vec::new(), 256);
        let end = End::Retry {
            after: Duration::ZERO,
            reason: String::new(),
        };
        agenda.settled(
            NOW,
            &Settled {
                id: 3,
                attempt: 0,
                end,
            },
        );
        assert_eq!(started(&mut agenda, 1), [] as [i64; 0]);
        assert!(agenda.is_empty() && agenda.lanes.is_empty());
    }

    #[test]
    fn a_long_lane_stays_in_the_table_and_does_not_hide_the_others() {
        let mut agenda = Agenda::default();
        let count = 2_000;
        let table: Vec<Waiting> = (1..=count).map(|id| row(id, "long")).collect();
        let mut table = table;
        table.push(row(count + 1, "short"));
        let mut done_ids = Vec::new();
        for _ in 0..10_000 {
            for wish in agenda.wishes() {
                let rows: Vec<Waiting> = table
                    .iter()
                    .filter(|row| {
                        let lane = wish.lane.as_ref();
                        row.effect.id > wish.after && lane.is_none_or(|l| *l == row.effect.lane)
                    })
                    .take(100)
                    .cloned()
                    .collect();
                agenda.add(NOW, wish, rows, 100);
            }
            assert!(agenda.rows <= MAX_ROWS_OF_LANE + 1);
            for id in started(&mut agenda, 3) {
                agenda.settled(NOW, &done(id));
                table.retain(|row| row.effect.id != id);
                done_ids.push(id);
            }
            if agenda.is_empty() && table.is_empty() {
                break;
            }
        }
        let short = done_ids.iter().position(|id| *id == count + 1);
        assert!(
            short.expect("it was done") < 1_000,
            "before the long lane's end"
        );
        done_ids.sort_unstable();
        assert_eq!(done_ids, (1..=count + 1).collect::<Vec<_>>(), "each once");
    }
}
