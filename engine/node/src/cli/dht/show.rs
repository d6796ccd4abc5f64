//! Answers of the DHT, for people or as JSON.

use crate::cli::{print_json, readable};
use holdfast_node::wire::dht::{
    DhtItemReply, DhtKeptReply, DhtLookupReply, DhtNodesReply, DhtPeersReply, DhtReport,
    DhtSamplesReply, DhtStatusReply,
};
use std::io::{self, Write};

pub fn status(reply: &DhtStatusReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(reply);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "id        {}", reply.id)?;
    for family in &reply.families {
        let (name, address) = (&family.family, family.address);
        match family.id == reply.id {
            true => writeln!(out, "{name:<9} {address}")?,
            false => writeln!(out, "{name:<9} {address} as {}", family.id)?,
        }
        let (good, quiet, bad) = (family.good, family.questionable, family.bad);
        writeln!(
            out,
            "  contacts  {good} good, {quiet} questionable, {bad} bad, in {} buckets",
            family.buckets
        )?;
        writeln!(
            out,
            "  stores    {} items, peers of {} torrents",
            family.items, family.torrents
        )?;
    }
    let traffic = &reply.traffic;
    writeln!(
        out,
        "received  {} datagrams, {} bytes",
        traffic.received, traffic.received_bytes
    )?;
    writeln!(
        out,
        "sent      {} datagrams, {} bytes, {} not taken",
        traffic.sent, traffic.sent_bytes, traffic.unsent
    )?;
    writeln!(
        out,
        "lookups   {}, {} timed out, {} under way",
        traffic.lookups, traffic.timed_out, reply.lookups
    )?;
    writeln!(out, "keeps     {}", reply.kept)?;
    out.flush()
}

pub fn nodes(reply: &DhtNodesReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(reply);
    }
    let mut out = io::stdout().lock();
    for node in &reply.nodes {
        writeln!(out, "{}\t{}", node.id, node.address)?;
    }
    out.flush()
}

/// Each hop: who was asked, whom it was named by, and how long the answer took.
pub fn lookup(reply: &DhtLookupReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(reply);
    }
    let mut out = io::stdout().lock();
    for report in &reply.reports {
        write_report(&mut out, report)?;
    }
    out.flush()
}

fn write_report(out: &mut impl Write, report: &DhtReport) -> io::Result<()> {
    let millis = |micros: u64| micros as f64 / 1_000.0;
    writeln!(out, "{}", report.family)?;
    writeln!(
        out,
        "  hop  from  id                                        address                at ms    took ms"
    )?;
    for (place, hop) in report.hops.iter().enumerate() {
        let from = hop.named_by.map_or("-".to_owned(), |by| by.to_string());
        let took = match hop.answered_us {
            Some(answered) => format!("{:.1}", millis(answered.saturating_sub(hop.asked_us))),
            None => "dead".to_owned(),
        };
        let (id, address, at) = (hop.id, hop.address.to_string(), millis(hop.asked_us));
        writeln!(
            out,
            "  {place:>3}  {from:>4}  {id}  {address:<21}  {at:>6.1}  {took:>9}"
        )?;
    }
    writeln!(out, "  closest")?;
    for node in &report.closest {
        writeln!(out, "             {}  {}", node.id, node.address)?;
    }
    let cut = match report.cut_short {
        true => ", cut short",
        false => "",
    };
    writeln!(
        out,
        "  {} asked, {} answered, {} hops to the closest, {:.1} ms of {:.1} ms{cut}",
        report.hops.len(),
        report.replies,
        report.depth,
        millis(report.way_us),
        millis(report.took_us)
    )
}

pub fn item(reply: &DhtItemReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(reply);
    }
    let mut out = io::stdout().lock();
    match &reply.text {
        Some(text) => writeln!(out, "{text}")?,
        None => writeln!(out, "{}", readable(&reply.value.0))?,
    }
    out.flush()
}

pub fn peers(reply: &DhtPeersReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(reply);
    }
    let mut out = io::stdout().lock();
    for peer in &reply.peers {
        writeln!(out, "{peer}")?;
    }
    out.flush()
}

pub fn samples(reply: &DhtSamplesReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(reply);
    }
    let mut out = io::stdout().lock();
    for sample in &reply.samples {
        for info_hash in &sample.info_hashes {
            let (total, from) = (sample.total, sample.from.address);
            writeln!(out, "{info_hash}\t{from}\tone of {total}")?;
        }
    }
    out.flush()
}

pub fn kept(reply: &DhtKeptReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(reply);
    }
    let mut out = io::stdout().lock();
    for kept in &reply.kept {
        let stored = kept
            .stored
            .map_or("-".to_owned(), |count| count.to_string());
        let (kind, target, next) = (&kept.kind, kept.target, kept.next_s);
        writeln!(
            out,
            "{kind}\t{target}\tstored by {stored}\tagain in {next} s"
        )?;
    }
    out.flush()
}
