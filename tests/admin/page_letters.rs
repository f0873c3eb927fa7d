//! Dead letters on the page: one is opened, a cluster is tried and put back, and what was put back is removed, each by a
//! call that is shown first.

use super::TIMEOUT;
use super::letters::Graves;
use crate::harness::browser::{Browser, ENTER};
use crate::harness::wait;

#[test]
fn a_letter_is_opened_a_cluster_is_put_back_and_removed_and_each_call_is_shown_before_it_is_made() {
    let graves = Graves::new("page-letters");
    let letters = (0..3).map(|number| graves.letter(number, "reject"));
    graves
        .witness
        .dead_letters
        .produce(&letters.collect::<Vec<_>>());
    let signature = graves.signature("reject", 3);
    let browser = Browser::start();
    browser.looks_like((375, 812), "dark");
    browser.open(&format!("http://{}/#letters", graves.host.admin()));
    browser.wait_for(&["3 dead letters", "3 × reject", "3 open"]);

    opens_a_letter(&browser, &graves);
    browser.looks_like((1_280, 900), "light");
    let (topic, yes) = (graves.topic(), "#confirm-yes");
    let redrive = format!("POST /v1/dead-letters/{topic}/redrive?signature={signature}");
    browser.click(&format!("button[aria-label='Dry run: {signature}']"));
    browser.wait_for(&[&format!("{redrive}&dry_run=true")]);
    browser.click(yes);
    browser.wait_for(&["Dry run of", "3 of 3 would be put back"]);

    let button = format!("button[aria-label='Redrive: {signature}']");
    browser.types(&button, ENTER);
    browser.wait_for(&["Put 3 dead letters back?", &redrive]);
    leaves(&browser, "#confirm");
    browser.types(&button, ENTER);
    browser.types("#confirm-field-text", "50/s");
    browser.wait_for(&[&format!("{redrive}&rate=50%2Fs")]);
    assert_eq!(graves.back(), [], "nobody has said yes");
    browser.click(yes);
    browser.wait_for(&["3 of 3 put back", "3 of them put back"]);
    assert_eq!(graves.back().len(), 3);

    browser.click(&format!(
        "button[aria-label='Remove what was put back: {topic}']"
    ));
    browser.wait_for(&[
        "3 dead letters are removed for good, 0 of them never put back.",
        &format!("POST /v1/dead-letters/{topic}/purge?redriven=true"),
    ]);
    assert_eq!(graves.witness.dead_letters.read_all().len(), 3);
    browser.click(yes);
    browser.wait_for(&["3 removed", "0 dead letters"]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    graves.host.sigterm().expect_code(0);
}

/// On a phone, and its key can be paused from there.
fn opens_a_letter(browser: &Browser, graves: &Graves) {
    let (topic, source) = (graves.topic(), graves.witness.source.name());
    let group = &graves.witness.group;
    browser.click(&format!("button[aria-label='Show: {topic}/0/1']"));
    browser.wait_for(&[
        &format!("{topic}/0/1"),
        "origin.topic",
        "no price for order 1",
        "a customer",
        "\"id\": 1",
        "info looks for a price",
    ]);
    wait::eventually("a letter that is no wider than the phone", TIMEOUT, || {
        browser.script(
            "const box = document.querySelector('#letter').getBoundingClientRect(); \
             return box.left >= 0 && box.right <= innerWidth",
        ) == true
    });
    let whose = format!("topic {source} key a customer in {group}");
    browser.click(&format!(
        "#letter button[aria-label='Pause this key: {whose}']"
    ));
    let call = format!("/v1/groups/{group}/pause?topic={source}&key=a+customer");
    browser.wait_for(&[&format!("POST {call}")]);
    leaves(browser, "#confirm");
    leaves(browser, "#letter");
}

/// Closes a dialog without a yes.
fn leaves(browser: &Browser, dialog: &str) {
    browser.types(&format!("{dialog} button[value='no']"), ENTER);
    let open = format!("return document.querySelector('{dialog}').open");
    wait::eventually("a dialog that is closed", TIMEOUT, || {
        browser.script(&open) == false
    });
}
