//! What `millrace dev` says when it has started: where everything is, and what will be forgotten.

use std::fmt;
use std::net::SocketAddr;

use super::folder::Folder;
use crate::config::Config;

/// Everything that is said.
pub(super) struct Banner<'a> {
    pub(super) brokers: &'a str,
    pub(super) topics: &'a [String],
    /// Where sample events go; none when there are none.
    pub(super) sample_topic: Option<&'a str>,
    pub(super) partitions: u16,
    pub(super) grpc: Option<SocketAddr>,
    pub(super) admin: SocketAddr,
    pub(super) config: &'a Config,
    pub(super) folder: &'a Folder,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brokers, .. } = self;
        writeln!(f, "broker   {brokers}")?;
        writeln!(
            f,
            "         embedded: it keeps everything in memory, about 5 MB a partition, and"
        )?;
        writeln!(f, "         forgets it all on exit")?;
        let routed = || {
            self.config
                .groups
                .iter()
                .flat_map(|group| group.routes.keys())
        };
        if let Some(topic) = self
            .sample_topic
            .or_else(|| routed().next().map(String::as_str))
        {
            writeln!(f, "         kcat -b {brokers} -t {topic}")?;
        }
        writeln!(f, "topics   with {} partitions each:", self.partitions)?;
        let lines = lines(self.topics).join(",\n         ");
        writeln!(f, "         {lines}")?;
        if let Some(topic) = self.sample_topic {
            writeln!(f, "samples  to {topic}")?;
        }
        if let Some(grpc) = self.grpc {
            writeln!(f, "grpc     {grpc}")?;
        }
        writeln!(f, "page     http://{}/", self.admin)?;
        writeln!(f, "metrics  http://{}/metrics", self.admin)?;
        for (name, plugin) in &self.config.plugins {
            if let Some(journal) = &plugin.journal {
                writeln!(f, "journal  {name}: {}", journal.path.display())?;
            }
        }
        let (folder, fate) = match self.folder.is_temporary() {
            true => (
                self.folder.path(),
                "removed at the end; --data DIR keeps one",
            ),
            false => (self.folder.path(), "kept"),
        };
        writeln!(f, "data     {} ({fate})", folder.display())
    }
}

/// Names with commas between them, in lines that fit 80 columns behind the margin.
fn lines(names: &[String]) -> Vec<String> {
    const WIDTH: usize = 70;
    let mut lines: Vec<String> = Vec::new();
    for name in names {
        match lines.last_mut() {
            Some(line) if line.len() + name.len() + 2 <= WIDTH => {
                line.extend([", ", name]);
            }
            _ => lines.push(name.clone()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_lines_that_fit() {
        let names: Vec<String> = ["a", "b", &"c".repeat(66), &"d".repeat(90), "e"]
            .map(str::to_owned)
            .into();
        let expected = [
            "a, b".to_owned(),
            "c".repeat(66),
            "d".repeat(90),
            "e".to_owned(),
        ];
        assert_eq!(lines(&names), expected);
        assert!(lines(&[]).is_empty());
    }
}
