use crate::cli::{Failure, print_json};
use clap::Args;
use holdfast_host::Host;
use holdfast_node::{client::Client, wire::dht::DhtNode};
use holdfast_peers::{CrawlLimits, NodeContact};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, Write},
    net::SocketAddr,
};

/// Find every node of the DHT: look up ids all over it, closer together where there are more nodes.
///
/// Lookups are made one after another, each by the node that is asked. A limit ends it before it has seen everything, which
/// is said.
#[derive(Debug, Args)]
pub struct Crawl {
    /// Lookups at most
    #[arg(long, value_name = "NUMBER", default_value_t = CrawlLimits::default().lookups)]
    lookups: usize,
    /// Nodes at most
    #[arg(long, value_name = "NUMBER", default_value_t = CrawlLimits::default().nodes)]
    nodes: usize,
    /// Of IPv6, instead of IPv4
    #[arg(long)]
    ipv6: bool,
}

/// Contacts of an answer (BEP 5).
const K: usize = 8;

impl Crawl {
    pub async fn run(self, host: &Host, client: &Client, is_json: bool) -> Result<(), Failure> {
        let limits = CrawlLimits {
            lookups: self.lookups,
            nodes: self.nodes,
        };
        let mut crawl = holdfast_peers::Crawl::new(K, limits);
        let mut rng = host.rng("dht crawl");
        let family = match self.ipv6 {
            true => "ipv6",
            false => "ipv4",
        };
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{spinner} {msg}");
        bar.set_style(style.expect("a template that is one"));
        while let Some(region) = crawl.next(&mut rng) {
            let (known, lookups, left) = (crawl.nodes().len(), crawl.lookups(), crawl.left());
            bar.set_message(format!(
                "{known} nodes, {lookups} lookups, {left} regions left"
            ));
            bar.tick();
            let reply = client.dht_lookup(region.0).await?;
            let report = reply
                .reports
                .into_iter()
                .find(|report| report.family == family);
            let Some(report) = report else {
                return Err(Failure::Invalid(format!(
                    "the node is not in the DHT of {family}"
                )));
            };
            let closest: Vec<NodeContact> = report.closest.into_iter().map(Into::into).collect();
            let answered = report.hops.iter().filter(|hop| hop.answered_us.is_some());
            let met = answered.map(|hop| NodeContact {
                id: hop.id,
                address: hop.address,
            });
            crawl.found(region, &closest, met);
        }
        bar.finish_and_clear();
        let mut out = io::stdout().lock();
        for (id, address) in crawl.nodes() {
            match is_json {
                true => print_node(*id, *address)?,
                false => writeln!(out, "{id}\t{address}")?,
            }
        }
        out.flush()?;
        drop(out);
        let (nodes, lookups, left) = (crawl.nodes().len(), crawl.lookups(), crawl.left());
        let end = match crawl.is_cut_short() {
            true => format!("; a limit ended it with {left} regions left"),
            false => String::new(),
        };
        writeln!(io::stderr(), "{nodes} nodes in {lookups} lookups{end}")?;
        Ok(())
    }
}

fn print_node(id: holdfast_kademlia::Id, address: SocketAddr) -> io::Result<()> {
    print_json(&DhtNode { id, address })
}
