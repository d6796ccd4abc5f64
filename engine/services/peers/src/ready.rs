//! Which of many sockets have something: each has a waker of its own, so that a turn costs what there is to do, and not
//! what there might be.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// The sockets that may have something.
#[derive(Default)]
pub struct Ready {
    shared: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Numbers of sockets, in the order in which they were woken, each once.
    queue: Vec<u32>,
    task: Option<Waker>,
}

/// Wakes the task for one socket.
struct SocketWaker {
    number: u32,
    is_queued: AtomicBool,
    ready: Arc<Ready>,
}

/// One socket's place in [`Ready`].
pub struct Ticket {
    socket: Arc<SocketWaker>,
    waker: Waker,
}

impl Ready {
    /// A place for socket `number`, which counts as woken.
    pub fn ticket(self: &Arc<Ready>, number: u32) -> Ticket {
        let socket = Arc::new(SocketWaker {
            number,
            is_queued: AtomicBool::new(false),
            ready: self.clone(),
        });
        let waker = Waker::from(socket.clone());
        waker.wake_by_ref();
        Ticket { socket, waker }
    }

    /// From now on whatever is woken wakes this task. What was woken before stands in the queue.
    pub fn register(&self, task: &Waker) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut shared.task {
            Some(known) => known.clone_from(task),
            None => shared.task = Some(task.clone()),
        }
    }

    /// Moves the numbers of those that were woken to `turn`.
    pub fn take(&self, turn: &mut Vec<u32>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        turn.append(&mut shared.queue);
    }
}

impl Ticket {
    /// The socket is looked at now: what wakes it from here on counts again.
    pub fn begin(&self) -> Context<'_> {
        self.socket.is_queued.store(false, Ordering::Release);
        Context::from_waker(&self.waker)
    }

    /// There may be more: it gets another turn.
    pub fn again(&self) {
        self.waker.wake_by_ref();
    }
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = &self.ready.shared;
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.queue.push(self.number);
        let task = shared.task.clone();
        drop(shared);
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(ready: &Ready) -> Vec<u32> {
        let mut turn = Vec::new();
        ready.take(&mut turn);
        turn
    }

    #[test]
    fn who_was_woken_stands_in_the_queue_once() {
        let ready = Arc::new(Ready::default());
        let tickets = [3, 5].map(|number| ready.ticket(number));
        assert_eq!(taken(&ready), [3, 5], "both may have something");
        tickets[1].again();
        assert_eq!(taken(&ready), [] as [u32; 0], "it was not looked at yet");
        let waker = tickets[1].begin().waker().clone();
        waker.wake_by_ref();
        waker.wake_by_ref();
        tickets[0].begin();
        tickets[0].again();
        assert_eq!(taken(&ready), [5, 3]);
    }

    #[test]
    fn the_task_is_woken_by_the_first_of_a_turn() {
        struct Count(AtomicBool);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Count(AtomicBool::new(false)));
        let ready = Arc::new(Ready::default());
        let ticket = ready.ticket(0);
        ready.register(&Waker::from(woken.clone()));
        ticket.again();
        assert!(!woken.0.load(Ordering::Relaxed), "it is in the queue");
        ticket.begin();
        ticket.again();
        assert!(woken.0.load(Ordering::Relaxed));
    }
}
