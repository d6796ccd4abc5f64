use super::{Site, on, once, table};
use crate::{OpenMode, TaskEnd, TaskHandle, write_all_at};
use std::{pin::Pin, task::Poll, time::Duration};
use tokio::sync::{mpsc, oneshot};

table! { "tasks":
    a_task_that_returns_says_so_again_and_again,
    a_panic_is_reported_and_harms_nobody_else,
    an_aborted_task_ends_and_is_dropped,
    aborting_after_the_end_changes_nothing,
    a_task_aborted_at_birth_ends,
    a_dropped_handle_lets_the_task_run_on,
    tasks_run_beside_each_other,
    a_blocking_job_returns_its_result,
    a_blocking_job_ends_although_its_future_is_dropped,
    a_panic_in_a_blocking_job_goes_on_in_the_caller,
    many_blocking_jobs_end,
}

/// The end of a task, asked for twice.
async fn end_of(site: &Site, mut task: TaskHandle) -> TaskEnd {
    let end = site.within_patience(&mut task).await;
    assert_eq!(
        once(Pin::new(&mut task)).await,
        Poll::Ready(end),
        "poll_end: may be polled again after the end"
    );
    end
}

async fn a_task_that_returns_says_so_again_and_again(site: Site) {
    let host = site.host.clone();
    let task = site.host.spawn("conformance returns", async move {
        host.sleep(Duration::from_millis(1)).await;
    });
    assert_eq!(end_of(&site, task).await, TaskEnd::Returned);
}

async fn a_panic_is_reported_and_harms_nobody_else(site: Site) {
    let (send, receive) = oneshot::channel();
    let host = site.host.clone();
    let bystander = site.host.spawn("conformance bystander", async move {
        host.sleep(Duration::from_millis(5)).await;
        let _ = send.send(());
    });
    let task = site.host.spawn("conformance panics", async {
        panic!("this panic is meant");
    });
    assert_eq!(end_of(&site, task).await, TaskEnd::Panicked);
    assert_eq!(end_of(&site, bystander).await, TaskEnd::Returned);
    receive.await.expect("spawn: a task runs until it returns");
}

async fn an_aborted_task_ends_and_is_dropped(site: Site) {
    let (held, dropped) = oneshot::channel::<()>();
    let (started, running) = oneshot::channel();
    let task = site.host.spawn("conformance aborted", async move {
        let _held = held;
        let _ = started.send(());
        std::future::pending::<()>().await;
    });
    running.await.expect("spawn: starts a task");
    task.abort();
    assert_eq!(end_of(&site, task).await, TaskEnd::Aborted);
    site.within_patience(dropped)
        .await
        .expect_err("abort: ends the task, and with it what it owned");
}

async fn aborting_after_the_end_changes_nothing(site: Site) {
    let (send, done) = oneshot::channel();
    let mut task = site.host.spawn("conformance done", async move {
        let _ = send.send(());
    });
    done.await.expect("spawn: a task runs until it returns");
    assert_eq!((&mut task).await, TaskEnd::Returned);
    task.abort();
    assert_eq!(
        end_of(&site, task).await,
        TaskEnd::Returned,
        "abort: nothing happens when the task has ended"
    );
}

async fn a_task_aborted_at_birth_ends(site: Site) {
    let (held, dropped) = oneshot::channel::<()>();
    let task = site.host.spawn("conformance stillborn", async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    task.abort();
    assert_eq!(end_of(&site, task).await, TaskEnd::Aborted);
    site.within_patience(dropped)
        .await
        .expect_err("abort: ends the task, and with it what it owned");
}

async fn a_dropped_handle_lets_the_task_run_on(site: Site) {
    let (send, receive) = oneshot::channel();
    let host = site.host.clone();
    drop(site.host.spawn("conformance detached", async move {
        host.sleep(Duration::from_millis(2)).await;
        let _ = send.send(());
    }));
    site.within_patience(receive)
        .await
        .expect("spawn: dropping the handle lets the task run on");
}

async fn tasks_run_beside_each_other(site: Site) {
    const ROUNDS: u32 = 100;
    let (to_pong, mut from_ping) = mpsc::channel(1);
    let (to_ping, mut from_pong) = mpsc::channel(1);
    let ping = on(&site.host, async move {
        for round in 0..ROUNDS {
            to_pong.send(round).await.expect("pong listens");
            assert_eq!(from_pong.recv().await, Some(round));
        }
    });
    let pong = on(&site.host, async move {
        while let Some(round) = from_ping.recv().await {
            if to_ping.send(round).await.is_err() {
                return;
            }
        }
    });
    site.within_patience(ping).await;
    site.within_patience(pong).await;
}

async fn a_blocking_job_returns_its_result(site: Site) {
    let words = ["one".to_owned(), "two".to_owned()];
    let joined = site
        .within_patience(site.host.blocking(move |_| words.join(" ")))
        .await;
    assert_eq!(joined, "one two", "blocking: runs the job");
}

async fn a_blocking_job_ends_although_its_future_is_dropped(site: Site) {
    let path = site.directory("dropped_job").await.join("file");
    let (send, receive) = oneshot::channel();
    let mut job = Box::pin(site.host.blocking(move |disk| {
        let file = disk.open(&path, OpenMode::CreateNew)?;
        for page in 0..64 {
            write_all_at(disk, file, page * 4096, &[7; 4096])?;
        }
        disk.sync(file)?;
        let len = disk.len(file)?;
        disk.close(file);
        let _ = send.send(len);
        std::io::Result::Ok(())
    }));
    let _ = once(job.as_mut()).await;
    drop(job);
    let written = site.within_patience(receive).await;
    assert_eq!(
        written,
        Ok(64 * 4096),
        "blocking: once begun, a job runs to its end even when the future is dropped"
    );
}

async fn a_panic_in_a_blocking_job_goes_on_in_the_caller(site: Site) {
    let host = site.host.clone();
    let caller = site.host.spawn("conformance caller", async move {
        host.blocking(|_| panic!("this panic is meant too")).await
    });
    assert_eq!(
        end_of(&site, caller).await,
        TaskEnd::Panicked,
        "blocking: when the job panicked, the panic goes on in the caller"
    );
    let after = site.host.blocking(|_| 1).await;
    assert_eq!(after, 1, "a panic in one job does not harm the next");
}

async fn many_blocking_jobs_end(site: Site) {
    let jobs: Vec<_> = (0..100_u64)
        .map(|n| {
            let host = site.host.clone();
            on(
                &site.host,
                async move { host.blocking(move |_| n * n).await },
            )
        })
        .collect();
    let mut sum = 0;
    for job in jobs {
        sum += site.within_patience(job).await;
    }
    assert_eq!(sum, 328_350, "blocking: every job runs once");
}
