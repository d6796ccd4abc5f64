//! Counters, gauges and histograms, written out in Prometheus' text format.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the latency buckets, seconds: from a page-cache hit to a client's patience.
const LATENCY_BOUNDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How long things took: a histogram of durations.
#[derive(Debug, Default)]
pub struct Latencies {
    /// One a bound, and one for what is longer than the last.
    buckets: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Latencies {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos
            .fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// What the HTTP side of a node counts. Labels come from fixed sets, so that no client can grow it.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests by route and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    latencies: Mutex<BTreeMap<&'static str, std::sync::Arc<Latencies>>>,
    /// Commands that were given to the replica.
    pub proposals: AtomicU64,
    /// Commands whose outcome stayed unknown.
    pub proposals_unknown: AtomicU64,
    /// Events that were sent to watchers.
    pub watch_events: AtomicU64,
}

impl Metrics {
    /// Counts an answered request.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration) {
        *self
            .requests
            .lock()
            .expect("no panic under this lock")
            .entry((route, status))
            .or_default() += 1;
        let latencies = self
            .latencies
            .lock()
            .expect("no panic under this lock")
            .entry(route)
            .or_default()
            .clone();
        latencies.observe(took);
    }

    /// Writes what was counted.
    pub fn write(&self, page: &mut Page) {
        page.family(
            "holdfast_http_requests_total",
            Kind::Counter,
            "HTTP requests answered.",
        );
        for ((route, status), count) in self
            .requests
            .lock()
            .expect("no panic under this lock")
            .iter()
        {
            let status = status.to_string();
            page.sample(&[("route", route), ("status", &status)], *count as f64);
        }
        page.family(
            "holdfast_http_request_duration_seconds",
            Kind::Histogram,
            "Time from a request's head to its response's head.",
        );
        for (route, latencies) in self
            .latencies
            .lock()
            .expect("no panic under this lock")
            .iter()
        {
            page.histogram("route", route, latencies);
        }
        let counters = [
            (
                "holdfast_proposals_total",
                "Commands given to the replica.",
                &self.proposals,
            ),
            (
                "holdfast_proposals_unknown_total",
                "Commands whose outcome stayed unknown.",
                &self.proposals_unknown,
            ),
            (
                "holdfast_watch_events_total",
                "Events sent to watchers.",
                &self.watch_events,
            ),
        ];
        for (name, help, counter) in counters {
            page.counter(name, help, counter.load(Ordering::Relaxed) as f64);
        }
    }
}

/// Prometheus' kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises while the process lives.
    Counter,
    /// Goes either way.
    Gauge,
    /// Cumulative buckets.
    Histogram,
}

/// A page in Prometheus' text exposition format, version 0.0.4.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// An empty page.
    pub fn new() -> Self {
        Page::default()
    }

    /// Begins a metric; the samples that follow are its own.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = name;
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One sample of the metric that was begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let family = self.family;
        self.line(format_args!("{family}{} {value}", Labels(labels)));
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &'static str, help: &str, value: f64) {
        self.family(name, Kind::Counter, help);
        self.sample(&[], value);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &'static str, help: &str, value: f64) {
        self.family(name, Kind::Gauge, help);
        self.sample(&[], value);
    }

    fn histogram(&mut self, label: &str, value: &str, latencies: &Latencies) {
        let family = self.family;
        let mut count = 0;
        for (at, bucket) in latencies.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = LATENCY_BOUNDS
                .get(at)
                .map_or("+Inf".to_owned(), f64::to_string);
            let labels = [(label, value), ("le", bound.as_str())];
            self.line(format_args!("{family}_bucket{} {count}", Labels(&labels)));
        }
        let sum = Duration::from_nanos(latencies.sum_nanos.load(Ordering::Relaxed)).as_secs_f64();
        let labels = [(label, value)];
        self.line(format_args!("{family}_sum{} {sum}", Labels(&labels)));
        self.line(format_args!("{family}_count{} {count}", Labels(&labels)));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes what is written");
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }
}

struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl std::fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let open = if at == 0 { '{' } else { ',' };
            write!(f, "{open}{name}=\"{value}\"")?;
        }
        if self.0.is_empty() {
            Ok(())
        } else {
            f.write_char('}')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_prometheus_expects() {
        let metrics = Metrics::default();
        metrics.answered("status", 200, Duration::from_millis(1));
        metrics.answered("status", 200, Duration::from_secs(60));
        let mut page = Page::new();
        metrics.write(&mut page);
        page.family("holdfast_role", Kind::Gauge, "What it is.");
        page.sample(&[("role", "a\"b\\c\nd")], 1.0);
        let text = page.into_text();
        for line in [
            "# TYPE holdfast_http_requests_total counter",
            "holdfast_http_requests_total{route=\"status\",status=\"200\"} 2",
            "holdfast_http_request_duration_seconds_bucket{route=\"status\",le=\"0.0005\"} 0",
            "holdfast_http_request_duration_seconds_bucket{route=\"status\",le=\"0.001\"} 1",
            "holdfast_http_request_duration_seconds_bucket{route=\"status\",le=\"10\"} 1",
            "holdfast_http_request_duration_seconds_bucket{route=\"status\",le=\"+Inf\"} 2",
            "holdfast_http_request_duration_seconds_sum{route=\"status\"} 60.001",
            "holdfast_http_request_duration_seconds_count{route=\"status\"} 2",
            "holdfast_proposals_total 0",
            "holdfast_role{role=\"a\\\"b\\\\c\\nd\"} 1",
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "`{line}` is missing in\n{text}"
            );
        }
    }
}
