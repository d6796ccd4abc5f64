use super::{Api, Call, Problem, check_size, convert, json_reply, keys::unexpected, session};
use crate::{
    http::{Query, ReplyBody},
    wire::{
        self, CompareTarget, DeleteReply, Operator, PutReply, TxnOp, TxnReply, TxnRequest,
        TxnResult,
    },
};
use holdfast_kv::{
    Compare, CompareWith, Comparison, Delete, KvCommand, KvOutcome, Put, RangeRead, Step,
    StepOutcome, Txn,
};
use http::Response;

impl Api {
    /// A transaction.
    pub(super) async fn txn(&self, mut call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let session = session(&call.head.headers)?;
        let request: TxnRequest = self.json(&mut call).await?;
        let command = KvCommand::Txn(self.transaction(request)?);
        match self.carry_out(session, &command).await? {
            KvOutcome::Txn {
                revision,
                succeeded,
                steps,
            } => Ok(json_reply(&TxnReply {
                revision,
                succeeded,
                results: steps
                    .into_iter()
                    .map(|step| result(step, revision))
                    .collect(),
            })),
            other => Err(unexpected(&other)),
        }
    }

    fn transaction(&self, request: TxnRequest) -> Result<Txn, Problem> {
        let steps = |ops: Vec<TxnOp>| {
            let steps = ops.into_iter().map(|op| self.step(op));
            steps.collect::<Result<Vec<Step>, Problem>>()
        };
        Ok(Txn {
            compare: request
                .compare
                .into_iter()
                .map(|one| self.comparison(one))
                .collect::<Result<_, _>>()?,
            success: steps(request.success)?,
            failure: steps(request.failure)?,
        })
    }

    fn comparison(&self, compare: wire::Compare) -> Result<Compare, Problem> {
        self.check_key(&compare.key.0)?;
        Ok(Compare {
            key: compare.key.0,
            comparison: match compare.op {
                Operator::Equal => Comparison::Equal,
                Operator::NotEqual => Comparison::NotEqual,
                Operator::Greater => Comparison::Greater,
                Operator::Less => Comparison::Less,
            },
            with: match compare.target {
                CompareTarget::CreateRevision(revision) => CompareWith::CreateRevision(revision),
                CompareTarget::ModRevision(revision) => CompareWith::ModRevision(revision),
                CompareTarget::Version(version) => CompareWith::Version(version),
                CompareTarget::Value(value) => CompareWith::Value(value.0),
            },
        })
    }

    fn step(&self, op: TxnOp) -> Result<Step, Problem> {
        match op {
            TxnOp::Put(put) => {
                self.check_key(&put.key.0)?;
                check_size("the value", put.value.0.len(), self.limits.value_bytes)?;
                Ok(Step::Put(Put {
                    key: put.key.0,
                    value: put.value.0,
                    return_previous: put.prev_kv,
                }))
            }
            TxnOp::Delete(delete) => {
                let keys = convert::key_range(delete.keys)?;
                self.check_range(&keys)?;
                Ok(Step::Delete(Delete {
                    keys,
                    return_previous: delete.prev_kv,
                }))
            }
            TxnOp::Range(read) => {
                let keys = convert::key_range(read.keys)?;
                self.check_range(&keys)?;
                Ok(Step::Range(RangeRead {
                    keys,
                    limit: self.most_keys(read.limit) as u64,
                }))
            }
        }
    }
}

fn result(step: StepOutcome, revision: u64) -> TxnResult {
    match step {
        StepOutcome::Put { previous } => TxnResult::Put(PutReply {
            revision,
            prev_kv: previous.map(convert::pair),
        }),
        StepOutcome::Delete { deleted, previous } => TxnResult::Delete(DeleteReply {
            revision,
            deleted,
            prev_kvs: convert::pairs(previous),
        }),
        StepOutcome::Range(found) => TxnResult::Range(convert::range(found, revision)),
    }
}
