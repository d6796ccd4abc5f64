use super::*;
use holdfast_host::{
    TaskEnd,
    conformance::{Check, Site, checks},
};
use holdfast_sim::full::OnPanic;

#[derive(Clone, Copy, Debug)]
enum Company {
    Alone,
    WithAnother,
}

/// Whether the simulated host keeps one promise, in a world made for that check alone.
fn keeps(check: Check, settings: Settings, company: Company) -> bool {
    let ended = run(settings, move |world| async move {
        for node in 0..2 {
            idle(&world, node);
            // Some checks panic in a task of their own, to see what becomes of it.
            world.on_panic(node, OnPanic::TaskEnds);
        }
        world.add_name("site.example", vec![ip(0)]);
        let site = Site {
            host: world.host(0),
            ip: ip(0),
            other: match company {
                Company::Alone => None,
                Company::WithAnother => Some((world.host(1), ip(1))),
            },
            name: Some(("site.example".to_owned(), ip(0))),
        };
        world.host(0).spawn("check", check(site)).await
    });
    ended.output == Some(TaskEnd::Returned) && ended.failures.is_empty()
}

#[test]
fn the_simulated_host_keeps_every_promise() {
    let mut broken = Vec::new();
    for (name, check) in checks() {
        for company in [Company::Alone, Company::WithAnother] {
            let bad = (0..5).find(|seed| !keeps(check, calm(*seed), company));
            broken.extend(bad.map(|seed| (name, company, seed)));
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}
