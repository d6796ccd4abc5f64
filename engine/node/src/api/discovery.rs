//! Where the members are, as the DHT has it.

use super::{Api, Call, Problem, ProblemKind, dht, json_reply};
use crate::{
    discovery::{DiscoveryHandle, RoundError},
    http::{Query, ReplyBody},
    wire::dht::DhtClusterReply,
};
use http::Response;

impl Api {
    pub(super) async fn dht_cluster(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let state = self.discovery()?.state();
        Ok(json_reply(&DhtClusterReply::from(&state)))
    }

    pub(super) async fn dht_publish(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let replace = query.switch("replace")?;
        query.finish()?;
        let published = self.discovery()?.publish(replace).await;
        let state = published.map_err(unpublished)?;
        Ok(json_reply(&DhtClusterReply::from(&state)))
    }

    fn discovery(&self) -> Result<&DiscoveryHandle, Problem> {
        self.discovery.as_ref().ok_or_else(|| {
            let detail = "this node looks for no members: its configuration has no `discovery.key`";
            Problem::new(ProblemKind::NotFound, detail)
        })
    }
}

fn unpublished(error: RoundError) -> Problem {
    let kind = match &error {
        RoundError::Dht(error) => return dht::unstored(*error),
        RoundError::Busy => ProblemKind::Overloaded,
        RoundError::Stopped
        | RoundError::NotStored
        | RoundError::Overtaken
        | RoundError::Missing { .. } => ProblemKind::Unavailable,
        RoundError::ReadOnly
        | RoundError::Unusable(_)
        | RoundError::OtherMembers { .. }
        | RoundError::List(_)
        | RoundError::Exhausted => ProblemKind::WrongStatus,
    };
    Problem::new(kind, error.to_string())
}
