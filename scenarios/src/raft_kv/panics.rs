//! A core that fails an assertion ends its run and nothing else: what it said becomes a violation.

use holdfast_sim::check::Violation;
use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    /// What the panic of this thread's run said and where; `None` outside of a run.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `run`. A panic becomes a violation of `no-panic`, and whatever `run` was changing stays as it was at that
/// moment: enough to be looked at, not to go on with.
pub(crate) fn without_panic(run: impl FnOnce() -> Result<(), Violation>) -> Result<(), Violation> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let is_run = LAST.with_borrow_mut(|last| match last {
                Some(said) => {
                    *said = info.to_string();
                    true
                }
                None => false,
            });
            if !is_run {
                usual(info);
            }
        }));
    });
    LAST.set(Some(String::new()));
    let ended = panic::catch_unwind(AssertUnwindSafe(run));
    let said = LAST.take().unwrap_or_default();
    ended.unwrap_or_else(|_| Err(Violation::new("no-panic", said.replace('\n', " "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_violation_that_says_what_and_where() {
        assert_eq!(without_panic(|| Ok(())), Ok(()));
        let seen = without_panic(|| panic!("entries leave {} hole", "a")).expect_err("a panic");
        assert_eq!(seen.property, "no-panic");
        assert!(seen.message.contains("entries leave a hole"), "{seen}");
        assert!(seen.message.contains("panics.rs"), "{seen}");
        let other = without_panic(|| Err(Violation::new("other", "else")));
        assert_eq!(other.map_err(|v| v.property), Err("other"));
    }
}
