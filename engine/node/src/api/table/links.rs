//! The link checker's part of the table.

use super::{
    Access, BodyLimit, Caching, Content, Effect, Head, Kind, Operation, Parameter, Path, Place,
    Reply, RequestBody, Service,
};
use crate::{
    api::tables::{COMMAND, READ},
    auth::Scope,
    http::ProblemKind as P,
};
use http::Method;

pub(super) static SERVICE: Service = Service {
    name: "links",
    about: "The broken-link checker. A job crawls a site, checks each different target once, and has a result for every \
            link of every page. Times are texts of RFC 3339.",
    schemas: include_str!("../../wire/links.json"),
    paths: &[
        Path {
            template: "/v1/links/jobs",
            label: "links-jobs",
            parameters: &[],
            operations: &[LIST, CREATE],
        },
        Path {
            template: "/v1/links/jobs/{id}",
            label: "links-job",
            parameters: &[JOB],
            operations: &[GET, DELETE],
        },
        Path {
            template: "/v1/links/jobs/{id}/cancel",
            label: "links-cancel",
            parameters: &[JOB],
            operations: &[CANCEL],
        },
        Path {
            template: "/v1/links/jobs/{id}/resume",
            label: "links-resume",
            parameters: &[JOB],
            operations: &[RESUME],
        },
        Path {
            template: "/v1/links/jobs/{id}/results",
            label: "links-results",
            parameters: &[JOB],
            operations: &[RESULTS],
        },
        Path {
            template: "/v1/links/jobs/{id}/report",
            label: "links-report",
            parameters: &[JOB],
            operations: &[REPORT],
        },
        Path {
            template: "/v1/links/jobs/{id}/events",
            label: "links-events",
            parameters: &[JOB],
            operations: &[EVENTS],
        },
    ],
};

const JOB: Parameter = Parameter {
    name: "id",
    place: Place::Path,
    kind: Kind::Text,
    about: "The job's id: 32 hexadecimal digits.",
};
const IF_MATCH: Parameter = Parameter::header(
    "If-Match",
    "Only when the job has this `ETag` (RFC 9110, §13.1.1). What a running job has found in between does not matter.",
);
const IF_NONE_MATCH: Parameter = Parameter::header(
    "If-None-Match",
    "Only when the job has another `ETag` (RFC 9110, §13.1.2).",
);
const IDEMPOTENCY_KEY: Parameter = Parameter::header(
    "Idempotency-Key",
    "A name for this request: asked again with the same, it is carried out once, and answered with the first outcome and \
     `Idempotent-Replayed: true`. Remembered for a day.",
);
const FILTER: Parameter = Parameter::query(
    "filter",
    Kind::Choice(&[
        "all",
        "broken",
        "newly_broken",
        "alive",
        "moved",
        "dead",
        "blocked",
        "throttled",
        "flaky",
        "fragment_missing",
        "soft404",
        "redirect_loop",
        "tls_problem",
        "unverifiable",
    ]),
    "Only these: those that are broken, those that were not in the run before, or those with one verdict.",
);
const LAST_EVENT_ID: Parameter = Parameter::header(
    "Last-Event-ID",
    "The id of the last event seen. It changes nothing: every event tells everything.",
);

const ETAG: (&str, &str) = (
    "ETag",
    "The job's version, and while it runs how far it is, in quotes.",
);
const NAMED: &[P] = &[P::NotFound];
const CHANGED: &[P] = &[
    P::NotFound,
    P::PreconditionFailed,
    P::WrongStatus,
    P::ReadTimeout,
];
const STREAMED: &[P] = &[P::NotFound, P::Overloaded, P::Unavailable];

const LIST: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "linksListJobs",
    summary: "List jobs, the newest first",
    access: Access::Scope(Scope::LINKS_READ),
    effect: Effect::Read,
    parameters: &[Parameter::LIMIT, Parameter::CURSOR, Parameter::CONSISTENCY],
    request: None,
    reply: Reply::json("JobsReply", "A page of jobs."),
    refusals: &[&[P::InvalidCursor], READ],
    run: |api, call| Box::pin(api.list_jobs(call)),
};

const CREATE: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "linksCreateJob",
    summary: "Check a site",
    access: Access::Scope(Scope::LINKS_WRITE),
    effect: Effect::Change,
    parameters: &[IDEMPOTENCY_KEY],
    request: Some(RequestBody {
        content: Content::Json("NewJobRequest"),
        limit: BodyLimit::Body,
        about: "Which site, how, and when.",
    }),
    reply: Reply {
        status: 201,
        about: "The job is there, and begins when it is its turn.",
        content: Content::Json("CheckJob"),
        headers: &[ETAG, ("Location", "Where the job is.")],
        caching: Caching::No,
    },
    refusals: &[&[P::QuotaReached], COMMAND],
    run: |api, call| Box::pin(api.create_job(call)),
};

const GET: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "linksGetJob",
    summary: "Read a job, and count what it has found",
    access: Access::Scope(Scope::LINKS_READ),
    effect: Effect::Read,
    parameters: &[Parameter::CONSISTENCY, IF_NONE_MATCH],
    request: None,
    reply: Reply {
        headers: &[ETAG],
        caching: Caching::ByTag,
        ..Reply::json("JobReply", "The job.")
    },
    refusals: &[NAMED, &[P::PreconditionFailed], READ],
    run: |api, call| Box::pin(api.get_job(call)),
};

const DELETE: Operation = Operation {
    method: Method::DELETE,
    head: Head::No,
    id: "linksDeleteJob",
    summary: "Forget a job that is over, and what it found",
    access: Access::Scope(Scope::LINKS_WRITE),
    effect: Effect::Change,
    parameters: &[IF_MATCH, IDEMPOTENCY_KEY],
    request: None,
    reply: Reply::nothing("It is gone."),
    refusals: &[CHANGED, COMMAND],
    run: |api, call| Box::pin(api.delete_job(call)),
};

const CANCEL: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "linksCancelJob",
    summary: "Stop a job; what it has found stays",
    access: Access::Scope(Scope::LINKS_WRITE),
    effect: Effect::Change,
    parameters: &[IF_MATCH, IDEMPOTENCY_KEY],
    request: None,
    reply: Reply {
        headers: &[ETAG],
        ..Reply::json("CheckJob", "It has stopped.")
    },
    refusals: &[CHANGED, COMMAND],
    run: |api, call| Box::pin(api.cancel_job(call)),
};

const RESUME: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "linksResumeJob",
    summary: "Go on with a job that was stopped or has failed",
    access: Access::Scope(Scope::LINKS_WRITE),
    effect: Effect::Change,
    parameters: &[IF_MATCH, IDEMPOTENCY_KEY],
    request: None,
    reply: Reply {
        headers: &[ETAG],
        ..Reply::json("CheckJob", "It goes on.")
    },
    refusals: &[CHANGED, COMMAND],
    run: |api, call| Box::pin(api.resume_job(call)),
};

const RESULTS: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "linksListResults",
    summary: "List what a job has found",
    access: Access::Scope(Scope::LINKS_READ),
    effect: Effect::Read,
    parameters: &[
        FILTER,
        Parameter::LIMIT,
        Parameter::CURSOR,
        Parameter::CONSISTENCY,
    ],
    request: None,
    reply: Reply::json("ResultsReply", "A page of results."),
    refusals: &[NAMED, &[P::InvalidCursor], READ],
    run: |api, call| Box::pin(api.list_results(call)),
};

const REPORT: Operation = Operation {
    method: Method::GET,
    head: Head::No,
    id: "linksReport",
    summary: "Read everything that a job has found as one document",
    access: Access::Scope(Scope::LINKS_READ),
    effect: Effect::Read,
    parameters: &[
        Parameter::query(
            "format",
            Kind::Choice(&["json", "html", "text", "csv", "jsonl", "sarif", "junit"]),
            "How it is written; by `Accept` when it is absent.",
        ),
        FILTER,
        Parameter::CONSISTENCY,
    ],
    request: None,
    reply: Reply {
        status: 200,
        about: "The report. The connection breaks off when it cannot be written to its end.",
        content: Content::Report("LinksReport"),
        headers: &[("Content-Disposition", "A name for a file that holds it.")],
        caching: Caching::No,
    },
    refusals: &[STREAMED, &[P::NotAcceptable], READ],
    run: |api, call| Box::pin(api.links_report(call)),
};

const EVENTS: Operation = Operation {
    method: Method::GET,
    head: Head::No,
    id: "linksEvents",
    summary: "Be told of a job's progress as it happens",
    access: Access::Scope(Scope::LINKS_READ),
    effect: Effect::Read,
    parameters: &[LAST_EVENT_ID],
    request: None,
    reply: Reply {
        status: 200,
        about: "Events: `progress` with the job as it is, at most five a second; `end` with it once it has ended; \
                `deleted`; and `closing` when the node stops and events go on at another.",
        content: Content::Events("JobEvent"),
        headers: &[],
        caching: Caching::No,
    },
    refusals: &[STREAMED, READ],
    run: |api, call| Box::pin(api.links_events(call)),
};

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_links::{Verdict, report::Format};

    #[test]
    fn every_choice_is_one_and_none_is_missing() {
        let Kind::Choice(filters) = FILTER.kind else {
            panic!("a choice");
        };
        assert_eq!(filters[3..], Verdict::ALL.map(Verdict::name));
        let Kind::Choice(formats) = REPORT.parameters[0].kind else {
            panic!("a choice");
        };
        assert_eq!(formats, Format::ALL.map(Format::name));
    }
}
