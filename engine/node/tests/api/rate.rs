//! Clients that ask too often.

use crate::node::TestNode;

#[test]
fn nothing_is_limited_unless_it_is_said() {
    let node = TestNode::start();
    let got = node.get("/openapi.json");
    assert!(!got.headers.contains_key("ratelimit"));
    for _ in 0..300 {
        assert_eq!(node.get("/v1/kv/keys/a").status, 404);
    }
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let node = TestNode::start_with(|config| {
        config.limits.requests_per_second = 1;
        config.limits.burst = Some(3);
    });
    for left in [2, 1, 0] {
        let got = node.get("/v1/kv/keys/a");
        assert_eq!(got.status, 404);
        assert_eq!(got.headers["ratelimit-policy"], "\"requests\";q=3;w=3");
        let state = &got.headers["ratelimit"];
        assert!(
            state.starts_with(&format!("\"requests\";r={left};t=")),
            "{state}"
        );
    }
    let refused = node.put("a", "v");
    let problem = refused.expect_problem(429, "rate-limited");
    assert_eq!(refused.headers["retry-after"], "1");
    assert!(
        problem["retry_after_ms"]
            .as_u64()
            .is_some_and(|wait| wait <= 1000)
    );
    assert!(refused.headers["ratelimit"].starts_with("\"requests\";r=0;t="));
    // Probes are not clients.
    for _ in 0..20 {
        assert_eq!(node.get("/readyz").status, 200);
    }
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(node.get("/v1/kv/keys/a").status, 404, "nothing was put");
}
