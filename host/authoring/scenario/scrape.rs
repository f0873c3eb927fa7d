//! Figures as a scrape shows them: one series by its name and some of its labels. It must not know what they mean.

/// A series, or several that share these labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    name: String,
    labels: Vec<(String, String)>,
}

impl Series {
    /// Reads `name` or `name{label="value",...}`. None for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, rest) = match text.split_once('{') {
            None => (text, ""),
            Some((name, rest)) => (name, rest.strip_suffix('}')?),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if name.is_empty() || !name.chars().all(fits) {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            labels: labels(rest)?,
        })
    }

    /// The sum over all series of the scrape that it stands for; none where there is none. The plugin's own are
    /// found without their prefix too.
    pub(super) fn sum(&self, scrape: &str, prefix: &str) -> Option<f64> {
        let prefixed = format!("{prefix}{}", self.name);
        let mut sum = None;
        for line in scrape.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let (Some(series), Ok(value)) = (Self::parse(series), value.parse::<f64>()) else {
                continue;
            };
            let is_it = series.name == self.name || series.name == prefixed;
            if is_it
                && self
                    .labels
                    .iter()
                    .all(|label| series.labels.contains(label))
            {
                *sum.get_or_insert(0.0) += value;
            }
        }
        sum
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if self.labels.is_empty() {
            return Ok(());
        }
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        write!(f, "{{{}}}", labels.join(","))
    }
}

fn labels(text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let quoted = after.trim_start().strip_prefix('"')?;
        let (value, after) = quoted_to_end(quoted)?;
        labels.push((name.trim().to_owned(), value));
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
    Some(labels)
}

/// The text up to the closing quote, unescaped, and what follows.
fn quoted_to_end(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "# HELP orders_events_total x\n\
        orders_events_total{kind=\"a\",way=\"in, \\\"x\\\"\"} 2\n\
        orders_events_total{kind=\"b\"} 3\n\
        up 1\n";

    #[test]
    fn series_are_found_by_some_of_their_labels_and_with_or_without_prefix() {
        let sum = |text: &str| Series::parse(text).unwrap().sum(SCRAPE, "orders_");
        assert_eq!(sum("events_total{kind=\"a\"}"), Some(2.0));
        assert_eq!(sum("orders_events_total"), Some(5.0));
        assert_eq!(
            sum("events_total{ kind = \"a\", way = \"in, \\\"x\\\"\" }"),
            Some(2.0)
        );
        assert_eq!(sum("events_total{kind=\"c\"}"), None);
        assert_eq!(sum("up"), Some(1.0));
    }

    #[test]
    fn what_is_no_series_is_refused() {
        for text in ["", "a b", "a{x=1}", "a{x=\"1\"", "a{x}"] {
            assert_eq!(Series::parse(text), None, "{text}");
        }
    }
}
