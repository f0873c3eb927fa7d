//! The page in a real Chromium: it shows what is wrong and where, asks before it changes anything, and works on a phone
//! and by keyboard. `make screenshots` lets it write pictures for the documentation.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{TIMEOUT, Trouble};
use crate::harness::browser::{Browser, ENTER};
use crate::harness::host::Host;
use crate::harness::topic::Record;
use crate::harness::{process, wait};

const TOKEN: &str = "a-token-of-the-operators";

const PHONE: (u32, u32) = (375, 812);
const SCREEN: (u32, u32) = (1_280, 900);

const VIEWS: [&str; 6] = [
    "overview",
    "partitions",
    "plugins",
    "letters",
    "events",
    "configuration",
];

#[test]
fn the_page_shows_what_waits_and_why_and_asks_before_it_changes_anything() {
    let trouble = Trouble::new("page");
    let config = std::fs::read_to_string(trouble.setup.config_file()).expect("it is there");
    let listen = format!("admin: {{ listen: \"{}\"", trouble.setup.admin());
    assert!(config.contains(&listen), "{config}");
    let guarded = format!("{listen}, token: \"{TOKEN}\"");
    trouble
        .setup
        .write_config(&config.replace(&listen, &guarded));
    let host = trouble.start();
    let browser = Browser::start();
    browser.looks_like(SCREEN, "light");
    browser.open(&format!("http://{}/", host.admin()));

    browser.wait_for(&["This host asks for its token"]);
    browser.types("#token-text", &format!("not {TOKEN}{ENTER}"));
    browser.wait_for(&["This is not the token."]);
    browser.types("#token-text", &format!("{TOKEN}{ENTER}"));
    let place = format!("{}[0]", trouble.topic());
    let group = trouble.witness.group.as_str();
    browser.wait_for(&[
        group,
        &place,
        "1 events wait for a retry",
        "Dead letters",
        "1 reject",
    ]);
    tells_of_dead_letters_that_rise(&browser, group);
    wait::eventually("an axis that says each number once", TIMEOUT, || {
        // The first look may have seen the others on their way.
        let axis = axis(&browser, "Lag in events");
        [json!(["0", "1", "2"]), json!(["0", "2", "4"])].contains(&axis)
    });
    assert_eq!(
        browser.script("return localStorage.length + sessionStorage.length"),
        0
    );

    browser.types("nav a[href='#partitions']", ENTER);
    let other = format!("{}[1]", trouble.topic());
    browser.wait_for(&["2 of 2 partitions", &place, &other, "waiting", "idle"]);
    asks_before_it_reloads(&browser, &host);
    browser.types("nav a[href='#letters']", ENTER);
    browser.wait_for(&["1 dead letters", "1 × reject", "malformed", "1 open"]);
    pauses_and_resumes(&browser, &trouble);
    shows_events(&browser, &trouble);
    pauses_a_key(&browser, &trouble);
    browser.types("nav a[href='#configuration']", ENTER);
    browser.types("#configuration-filter input", "admin.");
    browser.wait_for(&["admin.token", "hidden", "admin.listen"]);
    assert!(!browser.text().contains(TOKEN), "a secret is on the page");

    for scheme in ["light", "dark"] {
        browser.looks_like(PHONE, scheme);
        for view in VIEWS {
            browser.script(&format!("location.hash = '#{view}'"));
            wait::eventually("a view that is no wider than the phone", TIMEOUT, || {
                browser.script("return document.documentElement.scrollWidth <= innerWidth") == true
            });
        }
    }
    if let Some(folder) = process::setting("MILLRACE_SCREENSHOTS") {
        pictures(&browser, &trouble, Path::new(&folder));
    }
    let complaints = browser.complaints();
    // The browser itself tells of each answer that is no success: those before the token, and the last.
    let unexpected = complaints.iter().filter(|said| !said.contains("401"));
    assert_eq!(unexpected.collect::<Vec<_>>(), Vec::<&String>::new());
    host.sigterm().expect_code(0);
}

/// The reload of a plugin: first it is left, then it is made, by the call that the document has.
fn asks_before_it_reloads(browser: &Browser, host: &Host) {
    let path = "/v1/plugins/witness/reload";
    let made = || {
        let calls = format!(
            "return performance.getEntriesByType('resource').filter((call) => call.name.endsWith('{path}')).length"
        );
        browser.script(&calls)
    };
    browser.types("nav a[href='#plugins']", ENTER);
    // An event waits for its retry in one of them.
    browser.wait_for(&["Lanes", "witness 0", "Held back"]);
    let reload = "button[aria-label='Reload: witness']";
    browser.types(reload, ENTER);
    browser.wait_for(&["Reload witness?", &format!("POST {path}")]);
    browser.types("#confirm button[value='no']", ENTER);
    wait::eventually("a dialog that is closed", TIMEOUT, || {
        browser.script("return document.querySelector('#confirm').open") == false
    });
    assert_eq!(made(), 0, "nobody has said yes");
    browser.click(reload);
    browser.click("#confirm-yes");
    browser.wait_for(&["witness: the version of its file serves."]);
    assert_eq!(made(), 1);
    assert!(documented(host.admin(), "/v1/plugins/{plugin}/reload"));
}

/// What needs attention says how many came since when and why, and leads to them.
fn tells_of_dead_letters_that_rise(browser: &Browser, group: &str) {
    let head = format!("Dead letters of {group}");
    browser.wait_for(&[&head, "rise: 1 since", "; reject."]);
    browser.types("#attention-list a", ENTER);
    browser.wait_for(&["1 dead letters"]);
    browser.types("nav a[href='#overview']", ENTER);
}

/// What stands at the axis of a chart, from the bottom up.
fn axis(browser: &Browser, title: &str) -> Value {
    browser.script(&format!(
        "const chart = [...document.querySelectorAll('.chart')].find((one) => one.querySelector('h3').textContent === '{title}'); \
         const left = (text) => Number(text.getAttribute('x')) < 50; \
         return [...chart.querySelectorAll('text')].filter(left).map((text) => text.textContent)"
    ))
}

/// A group, a topic and a partition that are paused say so wherever somebody looks, and have their way back there.
fn pauses_and_resumes(browser: &Browser, trouble: &Trouble) {
    let (group, topic) = (&trouble.witness.group, trouble.topic());
    let of_topic = format!("topic {topic} in {group}");
    let of_partition = format!("topic {topic} partition 1 in {group}");
    for (view, whose, query) in [
        ("overview", format!("group {group}"), String::new()),
        ("overview", of_topic, format!("?topic={topic}")),
        (
            "partitions",
            of_partition,
            format!("?topic={topic}&partition=1"),
        ),
    ] {
        browser.types(&format!("nav a[href='#{view}']"), ENTER);
        browser.click(&format!("button[aria-label='Pause: {whose}']"));
        browser.wait_for(&[&format!("POST /v1/groups/{group}/pause{query}")]);
        browser.click("#confirm-yes");
        browser.wait_for(&[&format!("{whose} is paused.")]);
        let resume = format!("button[aria-label='Resume: {whose}']");
        browser.click(&format!("#{view} {resume}"));
        browser.wait_for(&[&format!("POST /v1/groups/{group}/resume{query}")]);
        browser.click("#confirm-yes");
        browser.wait_for(&[&format!("{whose} goes on.")]);
        browser.types("nav a[href='#overview']", ENTER);
        wait::eventually("something that goes on", TIMEOUT, || {
            let text = browser.text();
            text.contains("Groups") && !text.contains("Paused since")
        });
    }
}

/// The key of an event that is shown.
fn pauses_a_key(browser: &Browser, trouble: &Trouble) {
    let (group, topic) = (&trouble.witness.group, trouble.topic());
    let whose = format!("topic {topic} key a customer in {group}");
    browser.click(&format!("button[aria-label='Pause this key: {whose}']"));
    let call = format!("/v1/groups/{group}/pause?topic={topic}&key=a+customer");
    browser.wait_for(&[&format!("Pause {whose}?"), &format!("POST {call}")]);
    browser.click("#confirm-yes");
    browser.types("nav a[href='#overview']", ENTER);
    browser.wait_for(&["Paused since", &whose]);
    browser.click("#pauses button");
    browser.click("#confirm-yes");
    browser.wait_for(&[&format!("{whose} goes on.")]);
}

fn documented(admin: SocketAddr, path: &str) -> bool {
    let headers = [("authorization", "Bearer a-token-of-the-operators")];
    let reply = crate::harness::http::ask(admin, "GET", "/v1/openapi.json", &headers, b"");
    reply.expect("it answers").json()["paths"][path]["post"].is_object()
}

fn shows_events(browser: &Browser, trouble: &Trouble) {
    browser.types("nav a[href='#events']", ENTER);
    browser.click("#tap button");
    browser.wait_for(&["Watching."]);
    wait::eventually("an event on the page", TIMEOUT, || {
        let order = Record::new("a customer", r#"{"shown":"<b>as text</b>"}"#);
        trouble.witness.source.produce(&[order.partition(1)]);
        let text = browser.text();
        text.contains("processed") && text.contains(r#"a customer  {"shown":"<b>as text</b>"}"#)
    });
    browser.click("#tap button");
    browser.wait_for(&["Stopped;"]);
}

/// Lets events flow for a while, so that there is something to draw, and writes what is seen.
fn pictures(browser: &Browser, trouble: &Trouble, folder: &Path) {
    std::fs::create_dir_all(folder).expect("it can be made");
    let began = std::time::Instant::now();
    browser.looks_like(SCREEN, "light");
    browser.script("location.hash = '#overview'");
    while began.elapsed() < Duration::from_secs(75) {
        let wave = 60.0 + 40.0 * (began.elapsed().as_secs_f64() / 9.0).sin();
        let records: Vec<Record> = (0..wave as usize)
            .map(|at| {
                let value = if at % 29 == 0 { "not JSON" } else { "{}" };
                Record::new(format!("customer-{at}"), value).partition(1)
            })
            .collect();
        trouble.witness.source.produce(&records);
        std::thread::sleep(Duration::from_millis(100));
    }
    let picture = |view: &str, size, scheme: &str, name: &str| {
        browser.looks_like(size, scheme);
        browser.script(&format!("location.hash = '#{view}'"));
        std::thread::sleep(Duration::from_secs(3));
        browser.picture(&folder.join(format!("{name}.png")));
    };
    picture("overview", SCREEN, "light", "overview");
    picture("letters", SCREEN, "light", "dead-letters");
    picture("overview", PHONE, "dark", "overview-phone");
}
