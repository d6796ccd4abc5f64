//! Several workers at a time: jobs in a queue, a process for each processor, records as they come.

use crate::XtaskError;
use crate::worker::{Job, Worker};
use holdfast_record::SeedRecord;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// Runs all jobs, `parallel` at a time, and hands over each record with its job's place in `jobs`. Records of one job
/// come in its order, those of different jobs mixed. The first error ends everything.
pub fn run(
    worker: &Worker,
    jobs: &[Job],
    parallel: usize,
    mut each: impl FnMut(usize, SeedRecord),
) -> Result<(), XtaskError> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..jobs.len()).collect());
    let next = || queue.lock().expect("nobody panics in here").pop_front();
    let (sender, results) = channel();
    std::thread::scope(|scope| {
        for _ in 0..parallel.clamp(1, jobs.len().max(1)) {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(job) = next() {
                    // The receiver goes away after an error: then nobody wants to know any more.
                    let done = worker.run(&jobs[job], |record| {
                        let _ = sender.send(Ok((job, record)));
                    });
                    if let Err(error) = done {
                        let _ = sender.send(Err(error));
                    }
                }
            });
        }
        drop(sender);
        for result in results {
            match result {
                Ok((job, record)) => each(job, record),
                Err(error) => {
                    queue.lock().expect("nobody panics in here").clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    })
}
