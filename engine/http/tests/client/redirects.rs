use crate::support::*;
use holdfast_host::BoxFuture;
use holdfast_http::{ClientConfig, CookieJar, FetchError, Gate, Hop, OpenGate, Refusal, Request};
use http::Method;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use url::Url;

/// A site whose paths redirect: `/301/there` answers 301 to `/there`, and anything else answers what was asked.
async fn site(lab: &Lab) -> Site {
    lab.serve(Spoken::Http1, |asked| {
        let mut parts = asked.path[1..].splitn(2, '/');
        let status = parts.next().and_then(|part| part.parse().ok());
        match (status, parts.next()) {
            (Some(status), Some(rest)) => Answer::to(status, &format!("/{rest}")),
            _ => Answer::ok(format!(
                "{} {} {}",
                asked.method,
                asked.path,
                asked.body.len()
            )),
        }
    })
    .await
}

#[test]
fn every_hop_is_told() {
    run(|lab| async move {
        let site = site(&lab).await;
        let client = lab.client(ClientConfig::default());
        let fetched = fetch(&client, site.url("/301/302/303/307/308/end?q#frag")).await;
        is_ok(&fetched.outcome, b"GET /end?q 0");
        let told: Vec<_> = fetched
            .hops
            .iter()
            .map(|hop| (hop.status.as_u16(), hop.is_permanent))
            .collect();
        let expected = [
            (301, true),
            (302, false),
            (303, false),
            (307, false),
            (308, true),
        ];
        assert_eq!(told, expected);
        assert_eq!(fetched.hops[0].location, "/302/303/307/308/end?q");
        // The fragment goes along: RFC 9110, section 10.2.2.
        for hop in &fetched.hops {
            let target = hop.target.as_ref().expect("a target");
            assert_eq!(target.fragment(), Some("frag"));
        }
        assert_eq!(fetched.url, site.url("/end?q#frag"));
        assert_eq!(site.connections(), 1);
    });
}

#[test]
fn methods_change_as_they_should() {
    run(|lab| async move {
        let site = site(&lab).await;
        let client = lab.client(ClientConfig::default());
        for (status, method, expected) in [
            (301, Method::POST, "GET /x 0"),
            (302, Method::POST, "GET /x 0"),
            (303, Method::POST, "GET /x 0"),
            (307, Method::POST, "POST /x 4"),
            (308, Method::POST, "POST /x 4"),
            (303, Method::PUT, "GET /x 0"),
            (302, Method::PUT, "PUT /x 4"),
        ] {
            let url = site.url(&format!("/{status}/x"));
            let request = Request::new(method, url).body("body");
            let fetched = client.fetch(&request, &OpenGate, &all).await;
            is_ok(&fetched.outcome, expected.as_bytes());
        }
        let head = Request::head(site.url("/303/x"));
        let fetched = client.fetch(&head, &OpenGate, &all).await;
        is_ok(&fetched.outcome, b"");
    });
}

#[test]
fn what_is_no_redirect_is_an_answer() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |asked| match asked.path.as_str() {
            "/300" => Answer::to(300, "/x"),
            "/304" => Answer::to(304, "/x"),
            "/201" => Answer::to(201, "/x"),
            _ => Answer::new(302),
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        for (path, status) in [("/300", 300), ("/304", 304), ("/201", 201), ("/302", 302)] {
            let fetched = fetch(&client, site.url(path)).await;
            let response = fetched.outcome.expect("a response");
            assert_eq!(response.head.status.as_u16(), status);
            assert_eq!(fetched.hops.len(), 0);
        }
        // A single request follows nothing.
        let response = get(&client, site.url("/302")).await.expect("a response");
        assert_eq!(response.head.status.as_u16(), 302);
    });
}

#[test]
fn locations_that_cannot_be_followed() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |asked| match asked.path.as_str() {
            "/bad" => Answer::to(301, "http://[::bad/"),
            "/mail" => Answer::to(301, "mailto:someone@a.test"),
            "/file" => Answer::to(301, "file:///etc/passwd"),
            "/two" => Answer::to(301, "/a").header("location", "/b"),
            "/twice" => Answer::to(301, "/a").header("location", "/a"),
            "/user" => Answer::to(301, &format!("http://me:pw@{}/a", asked.header("host"))),
            "/a" => Answer::ok(asked.header("authorization")),
            _ => Answer::ok("?"),
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        for (path, name) in [
            ("/bad", "bad-redirect"),
            ("/two", "bad-redirect"),
            ("/mail", "redirect-scheme"),
            ("/file", "redirect-scheme"),
        ] {
            let fetched = fetch(&client, site.url(path)).await;
            failed(fetched.outcome, name);
            assert_eq!(fetched.hops.len(), 1);
            assert_eq!(fetched.hops[0].target, None);
        }
        is_ok(&fetch(&client, site.url("/twice")).await.outcome, b"");
        let fetched = fetch(&client, site.url("/user")).await;
        is_ok(&fetched.outcome, b"");
        assert_eq!(fetched.url, site.url("/a"));
    });
}

#[test]
fn loops_end_and_long_chains_too() {
    run(|lab| async move {
        let count = Arc::new(AtomicUsize::new(0));
        let asked_times = count.clone();
        let site = lab.serve(Spoken::Http1, move |asked| {
            asked_times.fetch_add(1, Ordering::SeqCst);
            match asked.path.as_str() {
                "/self" => Answer::to(301, "/self"),
                "/one" => Answer::to(301, "/two#x"),
                "/two" => Answer::to(301, "/one#y"),
                path => {
                    let n: usize = path[1..].parse().expect("a number");
                    Answer::to(301, &format!("/{}", n + 1))
                }
            }
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        let fetched = fetch(&client, site.url("/self#z")).await;
        failed(fetched.outcome, "redirect-loop");
        assert_eq!(count.swap(0, Ordering::SeqCst), 1);
        let fetched = fetch(&client, site.url("/one")).await;
        let error = failed(fetched.outcome, "redirect-loop");
        assert!(error.to_string().contains("/one"), "{error}");
        assert_eq!(count.swap(0, Ordering::SeqCst), 2);
        let fetched = fetch(&client, site.url("/0")).await;
        failed(fetched.outcome, "too-many-redirects");
        assert_eq!(count.swap(0, Ordering::SeqCst), 11);
        assert_eq!(fetched.hops.len(), 11);
    });
}

#[test]
fn a_cookie_makes_the_same_url_another_question() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |asked| {
            let cookie = asked.header("cookie");
            match (asked.path.as_str(), cookie.contains("seen=1")) {
                // Passed at the second time, as many a front page does it.
                ("/door", false) => Answer::to(302, "/door").header("set-cookie", "seen=1; Path=/"),
                ("/door", true) => Answer::ok(cookie),
                // Never satisfied: it sets the same again.
                _ => Answer::to(302, "/trap").header("set-cookie", "same=1"),
            }
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        let fetched = fetch(&client, site.url("/door")).await;
        is_ok(&fetched.outcome, b"seen=1");
        assert_eq!(fetched.cookies.cookies().len(), 1);
        let fetched = fetch(&client, site.url("/trap")).await;
        failed(fetched.outcome, "redirect-loop");
        assert_eq!(fetched.hops.len(), 2);
        // The next chain begins without cookies.
        let fetched = fetch(&client, site.url("/door")).await;
        assert_eq!(fetched.hops.len(), 1);
    });
}

#[test]
fn secrets_stay_with_their_origin() {
    run(|lab| async move {
        let other = lab.serve(Spoken::Http1, |asked| {
            let told = [
                "authorization",
                "cookie",
                "if-none-match",
                "referer",
                "x-custom",
            ];
            let told: Vec<_> = told.iter().map(|name| asked.header(name)).collect();
            Answer::ok(told.join("|"))
        });
        let other = other.await;
        // Another name of the same machine: cookies do not mind ports, but names.
        let elsewhere = format!("http://localhost:{}/", other.address.port());
        let target = elsewhere.clone();
        let site = lab.serve(Spoken::Http1, move |asked| match asked.path.as_str() {
            "/out" => Answer::to(302, &target).header("set-cookie", "secret=1; Path=/"),
            "/in" => Answer::to(302, "/here").header("set-cookie", "secret=1; Path=/"),
            _ => Answer::ok(asked.header("authorization") + "|" + &asked.header("cookie")),
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        let request = |path: &str| {
            Request::get(site.url(path))
                .header("authorization", "Bearer x")
                .and_then(|request| request.header("if-none-match", "\"x\""))
                .and_then(|request| request.header("referer", "http://a.test/"))
                .and_then(|request| request.header("x-custom", "y"))
                .expect("good headers")
        };
        let fetched = client.fetch(&request("/in"), &OpenGate, &all).await;
        is_ok(&fetched.outcome, b"Bearer x|secret=1");
        let fetched = client.fetch(&request("/out"), &OpenGate, &all).await;
        is_ok(&fetched.outcome, b"|||http://a.test/|y");
    });
}

/// Admits what does not lead to `/private`.
struct Robots(Mutex<Vec<String>>);

impl Gate for Robots {
    fn admit<'a>(&'a self, hop: &'a Url) -> BoxFuture<'a, Result<(), Refusal>> {
        self.0.lock().expect("no panic").push(hop.path().to_owned());
        let admitted = match hop.path().starts_with("/private") {
            true => Err(Refusal {
                name: "robots",
                detail: "robots.txt says so".into(),
            }),
            false => Ok(()),
        };
        Box::pin(std::future::ready(admitted))
    }
}

#[test]
fn the_gate_is_asked_before_every_hop() {
    run(|lab| async move {
        let site = site(&lab).await;
        let client = lab.client(ClientConfig::default());
        let robots = Robots(Mutex::default());
        let request = Request::get(site.url("/301/302/private"));
        let fetched = client.fetch(&request, &robots, &all).await;
        let error = failed(fetched.outcome, "not-admitted");
        assert!(matches!(
            error,
            FetchError::NotAdmitted(Refusal { name: "robots", .. })
        ));
        assert_eq!(fetched.hops.len(), 2);
        assert_eq!(fetched.url.path(), "/private");
        let asked = robots.0.lock().expect("no panic").clone();
        assert_eq!(asked, ["/301/302/private", "/302/private", "/private"]);
        let request = Request::get(site.url("/private"));
        let fetched = client.fetch(&request, &robots, &all).await;
        failed(fetched.outcome, "not-admitted");
    });
}

/// Follows redirects as long as there are no cookies, but never to `/other`.
struct Wary;

impl Gate for Wary {
    fn admit<'a>(&'a self, _hop: &'a Url) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn follows(&self, hop: &Hop, cookies: &CookieJar) -> bool {
        let target = hop.target.as_ref().expect("asked where it leads somewhere");
        target.path() != "/other" && cookies.cookies().is_empty()
    }
}

#[test]
fn a_gate_may_leave_a_redirect_alone() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |asked| match asked.path.as_str() {
            "/start" => Answer::to(302, "/next"),
            "/next" => Answer::to(301, "/other"),
            "/cookie" => Answer::to(302, "/start").header("set-cookie", "a=b"),
            "/mail" => Answer::to(302, "mailto:a@b.test"),
            _ => Answer::ok("there"),
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        let get = async |path: &str| {
            let request = Request::get(site.url(path));
            client.fetch(&request, &Wary, &all).await
        };
        let left = get("/start").await;
        let response = left.outcome.expect("the redirect is the response");
        assert_eq!(response.head.status, 301);
        assert_eq!((left.hops.len(), left.url.path()), (2, "/next"));
        let target = left.hops[1].target.as_ref().map(Url::path);
        assert_eq!(target, Some("/other"), "where it would have led");
        let left = get("/cookie").await;
        assert_eq!((left.hops.len(), left.url.path()), (1, "/cookie"));
        assert_eq!(left.outcome.expect("a redirect").head.status, 302);
        failed(get("/mail").await.outcome, "redirect-scheme");
    });
}

#[test]
fn the_head_is_told_where_the_body_cannot_be_read() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |asked| match asked.path.as_str() {
            "/start" => Answer::to(302, "/page"),
            _ => Answer::ok("no gzip").header("content-encoding", "gzip"),
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        let fetched = fetch(&client, site.url("/start")).await;
        failed(fetched.outcome, "bad-content-coding");
        let head = fetched.head.expect("a head");
        assert_eq!((head.status.as_u16(), head.url.path()), (200, "/page"));
    });
}
