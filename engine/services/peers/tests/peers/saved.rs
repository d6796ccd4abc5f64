//! A table outlives its node.

use crate::network::{World, settings, v4};
use holdfast_host::{OpenMode, write_all_at};
use holdfast_peers::Settings;
use std::path::{Path, PathBuf};

fn with_table() -> Settings {
    Settings {
        nodes: vec![v4()],
        directory: Some(PathBuf::from("dht/tables")),
        ..settings()
    }
}

#[test]
fn a_node_that_starts_again_needs_nobodys_help() {
    let world = World::new();
    let network = world.network(20, false);
    let first = network.addresses(0)[0].expect("in IPv4");
    let node = world.start(Settings {
        bootstrap: vec![first.to_string()],
        ..with_table()
    });
    world.wait_for("the node has joined", || async {
        node.contacts(0).await.expect("it runs").len() >= 8
    });
    let id = node.id(0);
    world.within(node.shutdown());

    let again = world.start(with_table());
    assert_eq!(again.id(0), id, "it is who it was");
    world.wait_for("it is back", || async {
        let status = again.status().await.expect("it runs");
        status.nodes[0].families[0].table.good >= 8
    });
}

#[test]
fn a_torn_table_is_none() {
    let world = World::new();
    let node = world.start(with_table());
    let id = node.id(0);
    world.within(node.shutdown());
    let tear = world.host.blocking(|disk| {
        let path = Path::new("dht/tables/node-0.dht");
        let file = disk.open(path, OpenMode::Write).expect("it was saved");
        write_all_at(disk, file, 20, b"torn").expect("it is written");
        disk.close(file);
    });
    world.within(tear);
    let again = world.start(with_table());
    assert_ne!(again.id(0), id, "another");
    // Which is saved in its place.
    let id = again.id(0);
    world.within(again.shutdown());
    assert_eq!(world.start(with_table()).id(0), id);
}

#[test]
fn an_id_that_its_address_may_not_have_is_given_up() {
    let world = World::new();
    let node = world.start(with_table());
    let id = node.id(0);
    world.within(node.shutdown());
    let external = "124.31.75.21".parse().expect("an address");
    let mut settings = with_table();
    settings.nodes[0].external = Some(external);
    let secure = world.start(settings.clone());
    assert_ne!(secure.id(0), id);
    assert!(holdfast_kademlia::secure_id::is_valid(
        secure.id(0),
        external
    ));
    let id = secure.id(0);
    world.within(secure.shutdown());
    assert_eq!(world.start(settings).id(0), id, "this one may stay");
}
