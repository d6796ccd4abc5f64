use super::workload::{Operation, Workload};
use holdfast_replica::{Rejection, Session};

/// How clients behave; times in simulated nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How many there are.
    pub clients: u32,
    /// How long one attempt may take.
    pub attempt_timeout: u64,
    /// How many attempts a call has.
    pub attempts: u32,
    /// How long to wait before another attempt.
    pub retry_pause: u64,
}

/// A client: one call at a time, attempts through one node after another until it is answered or out of attempts.
#[derive(Clone, Debug)]
pub(super) struct Client<W: Workload> {
    pub id: u32,
    session: Option<Session>,
    pub state: ClientState<W>,
    /// Rises with every attempt, and names it: late answers to earlier attempts are recognised.
    pub attempt: u64,
    /// Which node is asked next.
    pub node: u32,
    /// Whether a command of it was answered that it called after the faults had ended.
    pub has_written: bool,
    /// The same of a linearizable read.
    pub has_read: bool,
}

#[derive(Clone, Debug)]
pub(super) enum ClientState<W: Workload> {
    /// Between calls.
    Idle,
    /// Between attempts.
    Waiting(Pending<W>),
    /// An attempt is under way.
    Asking(Pending<W>),
    /// No more calls: the run is ending.
    Finished,
}

#[derive(Clone, Debug)]
pub(super) struct Pending<W: Workload> {
    pub call: W::Call,
    pub called: u64,
    attempts_left: u32,
    /// An attempt may have been carried out although no answer came.
    maybe_applied: bool,
}

/// What a node answers.
#[derive(Clone, Debug)]
pub(super) enum Reply<A> {
    Answer(A),
    Rejected(Rejection),
    /// An outcome that cannot be that of the call.
    Nonsense(String),
}

/// What follows from an attempt's end.
pub(super) enum Next<W: Workload> {
    /// The call is over.
    Over(Operation<W::Call, W::Answer>),
    /// The call was certainly not carried out; it belongs in no history.
    Refused(W::Call),
    /// Try again after the pause.
    Retry,
}

impl<W: Workload> Client<W> {
    pub fn new(id: u32, session: Option<u128>, node: u32) -> Self {
        Client {
            id,
            session: session.map(|client| Session {
                client,
                sequence: 0,
            }),
            state: ClientState::Idle,
            attempt: 0,
            node,
            has_written: false,
            has_read: false,
        }
    }

    /// What it is doing, for a person.
    pub fn describe(&self) -> String {
        match &self.state {
            ClientState::Idle => "between calls".into(),
            ClientState::Waiting(pending) => format!("about to try again: {:?}", pending.call),
            ClientState::Asking(pending) => format!("asking: {:?}", pending.call),
            ClientState::Finished => "finished".into(),
        }
    }

    pub fn session(&self) -> Option<Session> {
        self.session
    }

    /// Begins a call.
    pub fn begin(&mut self, now: u64, call: W::Call, is_command: bool, options: &ClientOptions) {
        assert!(matches!(self.state, ClientState::Idle));
        if is_command && let Some(session) = &mut self.session {
            session.sequence += 1;
        }
        self.state = ClientState::Waiting(Pending {
            call,
            called: now,
            attempts_left: options.attempts,
            maybe_applied: false,
        });
    }

    /// Begins an attempt; the call, for the message.
    pub fn ask(&mut self, nodes: u32) -> W::Call {
        self.attempt += 1;
        let ClientState::Waiting(mut pending) =
            std::mem::replace(&mut self.state, ClientState::Idle)
        else {
            panic!("an attempt begins while waiting for it");
        };
        if pending.attempts_left != 0 {
            pending.attempts_left -= 1;
        }
        self.node %= nodes;
        let call = pending.call.clone();
        self.state = ClientState::Asking(pending);
        call
    }

    /// An answer came, or (`None`) the time of the attempt is over.
    pub fn attempt_ended(
        &mut self,
        now: u64,
        reply: Option<Reply<W::Answer>>,
        is_command: bool,
    ) -> Next<W> {
        let ClientState::Asking(mut pending) =
            std::mem::replace(&mut self.state, ClientState::Idle)
        else {
            panic!("an attempt ends while it is under way");
        };
        let rejection = match reply {
            Some(Reply::Answer(answer)) => {
                return Next::Over(Operation {
                    client: self.id,
                    called: pending.called,
                    call: pending.call,
                    returned: Some((now, answer)),
                });
            }
            Some(Reply::Rejected(rejection)) => Some(rejection),
            Some(Reply::Nonsense(_)) => panic!("such a reply is a violation"),
            None => None,
        };
        self.node += 1;
        let definite = !is_command || rejection.is_some_and(Rejection::is_definite);
        pending.maybe_applied |= !definite;
        // Without a session a second attempt could apply the command a second time.
        let may_retry = !pending.maybe_applied || self.session.is_some();
        if may_retry && pending.attempts_left > 0 {
            self.state = ClientState::Waiting(pending);
            return Next::Retry;
        }
        if !pending.maybe_applied {
            if is_command && let Some(session) = &mut self.session {
                session.sequence -= 1;
            }
            return Next::Refused(pending.call);
        }
        // Whether the session has begun at all is not known: the next command begins another.
        if let Some(session) = &mut self.session {
            session.client += 1;
            session.sequence = 0;
        }
        Next::Over(Operation {
            client: self.id,
            called: pending.called,
            call: pending.call,
            returned: None,
        })
    }
}
