//! A real Chromium without a screen, told what to do by WebDriver over plain HTTP. Browser and driver end with the test
//! process, whatever ends that. It knows nothing of the page that is looked at.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{http, process, wait};

/// A browser starts in a second or two, and later where other tests have the machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a page may take to show what it should.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// How WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The key that WebDriver calls Enter.
pub(crate) const ENTER: &str = "\u{e007}";

/// A browser with one page.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: SocketAddr,
    session: String,
    // Killed in this order.
    processes: [Child; 2],
}

impl Browser {
    /// Starts one, with no page yet.
    ///
    /// # Panics
    /// When it does not start, with what installs it.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let folder = process::folder("chromium");
        let [debugging, port] = [process::free_port(), process::free_port()];
        let start = |program: &str, args: &[String]| {
            let log = folder.join(format!("{program}.log"));
            let file = |log: &Path| fs::File::create(log).expect("the folder can be written");
            let mut command = process::tethered(program);
            command
                .args(args)
                .env("HOME", &folder)
                .stdout(file(&log))
                .stderr(file(&log.with_extension("err")));
            process::spawn(command).expect("setpriv runs")
        };
        // Its sandbox does not work for root, and only a host of the tests is looked at.
        let browser = start(
            "chromium",
            &[
                "--headless=new".to_owned(),
                "--no-sandbox".to_owned(),
                "--disable-gpu".to_owned(),
                "--disable-dev-shm-usage".to_owned(),
                "--hide-scrollbars".to_owned(),
                "--no-first-run".to_owned(),
                format!("--remote-debugging-port={debugging}"),
                format!("--user-data-dir={}", folder.join("profile").display()),
                "about:blank".to_owned(),
            ],
        );
        let driver = start("chromedriver", &[format!("--port={port}")]);
        let mut started = Self {
            driver: SocketAddr::from(([127, 0, 0, 1], port)),
            session: String::new(),
            processes: [driver, browser],
        };
        let asked = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "debuggerAddress": format!("127.0.0.1:{debugging}") },
        }}});
        started.session = wait::eventually_some("a browser", START_TIMEOUT, || {
            let answer = started.send("POST", "/session", &asked).map_err(|error| {
                format!("{error}; are chromium and chromedriver there? run `make setup-browser`")
            })?;
            let session = answer["sessionId"].as_str();
            session.map(str::to_owned).ok_or(answer.to_string())
        });
        started
    }

    /// Shows what is at an address.
    #[track_caller]
    pub(crate) fn open(&self, address: &str) {
        self.ask("POST", "/url", &json!({ "url": address }));
    }

    /// Makes it so wide, as a phone or a screen has it, in light or in dark.
    #[track_caller]
    pub(crate) fn looks_like(&self, (width, height): (u32, u32), scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &scheme);
    }

    /// What a script answers.
    #[track_caller]
    pub(crate) fn script(&self, script: &str) -> Value {
        self.ask(
            "POST",
            "/execute/sync",
            &json!({ "script": script, "args": [] }),
        )
    }

    /// All that can be read on the page.
    #[track_caller]
    pub(crate) fn text(&self) -> String {
        let text = self.script("return document.body.innerText");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until all of this can be read.
    #[track_caller]
    pub(crate) fn wait_for(&self, parts: &[&str]) {
        wait::eventually_some(&format!("{parts:?} on the page"), SHOWN_TIMEOUT, || {
            let text = self.text();
            match parts.iter().find(|part| !text.contains(**part)) {
                None => Ok(()),
                Some(missing) => Err(format!("{missing:?} is not in:\n{text}")),
            }
        });
    }

    /// Types into the first element that a selector finds, as a person would.
    #[track_caller]
    pub(crate) fn types(&self, selector: &str, text: &str) {
        self.act_on(selector, "value", &json!({ "text": text }));
    }

    /// Clicks the first element that a selector finds.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.act_on(selector, "click", &json!({}));
    }

    /// What the browser has complained of since the last time: errors of scripts, refused loads, broken policies.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let lines = log.as_array().cloned().unwrap_or_default();
        lines
            .iter()
            .map(|line| line["message"].to_string())
            .collect()
    }

    /// Writes what is seen now into a PNG file.
    #[track_caller]
    pub(crate) fn picture(&self, file: &Path) {
        let answer = self.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let png = STANDARD.decode(answer["data"].as_str().unwrap_or_default());
        fs::write(file, png.expect("it is base64")).expect("the folder can be written");
    }

    /// A page that is drawn anew between finding and acting has another element there, which is found again.
    #[track_caller]
    fn act_on(&self, selector: &str, action: &str, body: &Value) {
        let what = format!("{action} on {selector}");
        wait::eventually_some(&what, SHOWN_TIMEOUT, || {
            let element = self.find(selector);
            // A person scrolls until nothing of the page lies over it.
            let into_view = format!(
                "document.querySelector({})?.scrollIntoView({{ block: 'center' }})",
                json!(selector)
            );
            self.script(&into_view);
            let path = format!("/session/{}/element/{element}/{action}", self.session);
            match self.send("POST", &path, body) {
                Err(error) if !error.contains("stale element") => panic!("{what}: {error}"),
                done => done,
            }
        });
    }

    #[track_caller]
    fn find(&self, selector: &str) -> String {
        let by = json!({ "using": "css selector", "value": selector });
        wait::eventually_some(&format!("an element {selector}"), SHOWN_TIMEOUT, || {
            let path = format!("/session/{}/element", self.session);
            let found = self.send("POST", &path, &by)?;
            let element = found[ELEMENT].as_str();
            element.map(str::to_owned).ok_or(found.to_string())
        })
    }

    #[track_caller]
    fn devtools(&self, command: &str, params: &Value) -> Value {
        let asked = json!({ "cmd": command, "params": params });
        self.ask("POST", "/goog/cdp/execute", &asked)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        let answer = self.send(method, &path, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let json = [("content-type", "application/json")];
        let body = body.to_string();
        let reply = http::ask(self.driver, method, path, &json, body.as_bytes());
        let reply = reply.map_err(|error| error.to_string())?;
        let value = reply.json()["value"].clone();
        match reply.status {
            200 => Ok(value),
            _ => Err(value["message"].to_string()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Fails when it has ended already; and the kernel kills it in the end.
            process.kill().ok();
            process.wait().ok();
        }
    }
}
