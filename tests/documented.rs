//! Pages that are run: what docs/tutorial.md and docs/recipes.md say to type is typed, and what they say comes of
//! it must come of it.
//!
//! A block with a title, as in ```` ```rust title="src/lib.rs" ````, is a file that the reader writes. A `console`
//! block is a shell: lines that begin with `$ ` are typed, the lines below them are printed. `...` stands for
//! anything within a line, and alone on its line for any lines.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::host::BINARY;
use crate::harness::process;

/// One block of a page that is acted on, with the line it begins at.
#[derive(Debug)]
struct Block {
    line: usize,
    what: What,
    text: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum What {
    File(String),
    Console,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Option<Block>> = None;
    for (number, line) in page.lines().enumerate() {
        let Some(info) = line.strip_prefix("```") else {
            if let Some(Some(block)) = &mut open {
                block.text.push(line.to_owned());
            }
            continue;
        };
        open = match open {
            Some(block) => {
                blocks.extend(block);
                None
            }
            None => Some(what(info).map(|what| Block {
                line: number + 1,
                what,
                text: Vec::new(),
            })),
        };
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

fn what(info: &str) -> Option<What> {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    let title = rest.strip_prefix("title=\"");
    let title = title.and_then(|title| title.strip_suffix('"'));
    match title {
        Some(title) => Some(What::File(title.to_owned())),
        None => (language == "console").then_some(What::Console),
    }
}

/// A command, and what is printed below it.
type Typed<'a> = (&'a str, Vec<&'a str>);

fn typed(block: &Block) -> Vec<Typed<'_>> {
    let mut typed: Vec<Typed<'_>> = Vec::new();
    for line in &block.text {
        match (line.strip_prefix("$ "), typed.last_mut()) {
            (Some(command), _) => typed.push((command, Vec::new())),
            (None, Some((_, printed))) => printed.push(line),
            (None, None) => panic!("line {}: a console begins with a command", block.line),
        }
    }
    typed
}

/// Whether a line is what the page shows.
fn fits(shown: &str, line: &str) -> bool {
    let mut parts: VecDeque<&str> = shown.split("...").collect();
    let (first, last) = (parts.pop_front().unwrap_or(""), parts.pop_back());
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let Some(last) = last else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The first line shown that was not printed in its place.
fn missing<'a>(shown: &[&'a str], printed: &[&str]) -> Option<&'a str> {
    let mut printed = printed.iter();
    let mut any = false;
    for &line in shown {
        if line.trim() == "..." {
            any = true;
            continue;
        }
        let found = if any {
            printed.any(|printed| fits(line, printed))
        } else {
            printed.next().is_some_and(|printed| fits(line, printed))
        };
        if !found {
            return Some(line);
        }
        any = false;
    }
    let ended = any || printed.next().is_none();
    (!ended).then_some("(nothing more)")
}

/// The reader of a page, in a folder of his own.
struct Reader {
    folder: PathBuf,
}

impl Reader {
    fn types(&mut self, page: &str, at: usize, (command, shown): &Typed<'_>) {
        let bin = Path::new(BINARY).parent().unwrap();
        let mut shell = process::tethered("bash");
        // Where it leads is the last line, so that the reader stays there.
        let script = format!(
            "PATH={}:$PATH; {{ {command}\n}} 2>&1; code=$?; echo; pwd; exit $code",
            bin.display()
        );
        shell
            .args(["-c", &script])
            .current_dir(&self.folder)
            // Crates come from the cache, and are compiled once for all tests.
            .env("CARGO_NET_OFFLINE", "true")
            .env(
                "CARGO_TARGET_DIR",
                concat!(env!("CARGO_TARGET_TMPDIR"), "/authoring"),
            )
            .stdin(Stdio::null());
        let output = shell.output().expect("bash is there");
        let text = String::from_utf8_lossy(&output.stdout);
        let (printed, folder) = text.trim_end().rsplit_once('\n').unwrap_or(("", &text));
        self.folder = PathBuf::from(folder.trim());
        let printed: Vec<&str> = printed.trim_end().lines().collect();
        if let Some(line) = missing(shown, &printed) {
            panic!(
                "{page}, the console at line {at}: `{command}` does not print\n  {line}\nbut\n{}",
                printed.join("\n")
            );
        }
    }
}

fn follow(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path).unwrap();
    let mut reader = Reader {
        folder: process::folder("documented"),
    };
    let blocks = blocks(&text);
    assert!(blocks.iter().any(|block| block.what == What::Console));
    for block in &blocks {
        match &block.what {
            What::File(name) => {
                let file = reader.folder.join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, block.text.join("\n") + "\n").unwrap();
            }
            What::Console => {
                for typed in typed(block) {
                    reader.types(page, block.line, &typed);
                }
            }
        }
    }
}

#[test]
fn the_tutorial_does_what_it_says() {
    follow("docs/tutorial.md");
}

#[test]
fn every_recipe_does_what_it_says() {
    follow("docs/recipes.md");
}

#[test]
fn a_page_that_shows_what_is_not_printed_is_found_out() {
    let printed = ["one 12 ms", "two", "three"];
    assert_eq!(missing(&["one ... ms", "two", "three"], &printed), None);
    assert_eq!(missing(&["...", "three"], &printed), None);
    assert_eq!(missing(&["one ... ms", "..."], &printed), None);
    assert_eq!(missing(&["one ... s", "..."], &printed), Some("one ... s"));
    assert_eq!(missing(&["one ... ms", "three"], &printed), Some("three"));
    assert_eq!(missing(&["one ... ms"], &printed), Some("(nothing more)"));
}
