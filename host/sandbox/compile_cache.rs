//! Compiled components on disk, so that a host that starts again does not compile again.
//!
//! Machine code cannot be checked, only believed: what is read here runs outside of every sandbox. So the folder
//! is its owner's alone, and every entry has a mark beside it that takes the key of the folder to make; an entry
//! that was changed, cut short or copied from elsewhere does not have it and is as good as absent. Nothing that
//! is wrong with the cache keeps a host from starting. It must not know what an entry means.

use std::fs::{self, DirBuilder, File};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use super::load::hex;
use crate::whole_file;

/// What all entries together may take. Compiled components have about a megabyte, so this is more than a
/// thousand versions of plugins, and no disk is filled by a year of new ones.
const BYTES_MAX: u64 = 2 << 30;

const KEY_FILE: &str = "key";
/// As long as a block of the hash, so that it goes in as it is.
const KEY_BYTES: usize = 64;
const CODE: &str = "cwasm";
const MARK: &str = "mac";

/// Compiled components by what they were made of and for.
#[derive(Debug)]
pub(super) struct CompileCache {
    folder: PathBuf,
    key: Key,
}

/// Never shown, not even by mistake.
struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// The name of an entry: whatever goes into machine code changes it.
#[derive(Debug)]
pub(super) struct Entry(String);

/// Why the cache is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{} belongs to user {owner}, and the host runs as user {user}: give the folder to that user, or name another one as `compile_cache`", path.display())]
    Owner {
        path: PathBuf,
        owner: u32,
        user: u32,
    },
    #[error("others may open {} (mode {mode:o}): run `chmod {wanted:o} {}`, or name another folder as `compile_cache`", path.display(), path.display())]
    Open {
        path: PathBuf,
        mode: u32,
        wanted: u32,
    },
    #[error("{} is not {what}: remove it, or name another folder as `compile_cache`", path.display())]
    Kind { path: PathBuf, what: &'static str },
    #[error("{}: {source}; name a folder that the host may write as `compile_cache`, or write `compile_cache: off`", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl CompileCache {
    /// The cache in this folder, which is made where it is missing. None where it cannot be trusted or used;
    /// the log says why, and what to do.
    pub(super) fn open(folder: PathBuf) -> Option<Self> {
        match Self::try_open(folder) {
            Ok(cache) => Some(cache),
            Err(error) => {
                tracing::warn!(%error, "the compile cache is not used, and every start compiles");
                None
            }
        }
    }

    fn try_open(folder: PathBuf) -> Result<Self, Unusable> {
        let failed = |source| Unusable::Io {
            path: folder.clone(),
            source,
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&folder).map_err(failed)?;
        check_alone(&folder, 0o700)?;
        let key = read_key(&folder.join(KEY_FILE))?;
        Ok(Self { folder, key })
    }

    /// The entry for a component by its digest, compiled as this engine would.
    pub(super) fn entry(&self, engine: &Engine, digest: &str) -> Entry {
        let mut name = NameHasher(Sha256::new());
        // wasmtime's version, target, processor features and settings.
        engine.precompile_compatibility_hash().hash(&mut name);
        for part in [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, digest] {
            name.write(part.as_bytes());
            name.write_u8(0);
        }
        Entry(hex(&name.0.finalize()))
    }

    /// What was put, and is still as it was put.
    pub(super) fn get(&self, entry: &Entry) -> Option<Vec<u8>> {
        let path = self.path(entry, CODE);
        let read = || {
            let mark = fs::read(self.path(entry, MARK))?;
            let mut code = Vec::new();
            let file = File::open(&path)?;
            file.take(BYTES_MAX).read_to_end(&mut code)?;
            Ok((mark, code))
        };
        let (mark, code) = match read() {
            Ok(both) => both,
            Err(error) => {
                let error: io::Error = error;
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "compiled again: the compile cache cannot be read");
                }
                return None;
            }
        };
        if self.mark(entry, &code).verify_slice(&mark).is_err() {
            tracing::warn!(path = %path.display(),
                "compiled again, and replaced: an entry of the compile cache is not what this host wrote");
            return None;
        }
        // What is used stays; an old time only brings the removal forward.
        let _touched = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(code)
    }

    /// Keeps machine code that was just made. Where that fails, the next start compiles again.
    pub(super) fn put(&self, entry: &Entry, code: &[u8]) {
        let mark = self.mark(entry, code).finalize().into_bytes();
        let code_path = self.path(entry, CODE);
        // Between the two the entry has the wrong mark, and is as good as absent.
        let written = whole_file::write(&code_path, code)
            .and_then(|()| whole_file::write(&self.path(entry, MARK), &mark))
            .and_then(|()| self.make_room());
        if let Err(error) = written {
            tracing::warn!(path = %code_path.display(), %error, "the compile cache cannot be written");
        }
    }

    fn mark(&self, entry: &Entry, code: &[u8]) -> Hmac<Sha256> {
        let mut mark = Hmac::<Sha256>::new(&self.key.0.into());
        // The name, so that an entry cannot stand in for another; it has one length.
        mark.update(entry.0.as_bytes());
        mark.update(code);
        mark
    }

    fn path(&self, entry: &Entry, extension: &str) -> PathBuf {
        self.folder.join(&entry.0).with_extension(extension)
    }

    /// Removes what was not used for the longest time, until everything fits.
    fn make_room(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            // Another host may have removed it meanwhile.
            let Ok(metadata) = path.metadata() else {
                continue;
            };
            if path.extension().is_some_and(|it| it == CODE) {
                entries.push((metadata.modified()?, metadata.len(), path));
            } else if whole_file::is_left_behind(&path, &metadata)? {
                remove(&path)?;
            }
        }
        entries.sort_unstable();
        for path in too_many(&entries, BYTES_MAX) {
            remove(&path.with_extension(MARK))?;
            remove(path)?;
        }
        Ok(())
    }
}

/// The oldest entries, as many as have to go.
fn too_many(entries: &[(SystemTime, u64, PathBuf)], bytes_max: u64) -> Vec<&Path> {
    let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
    let mut gone = Vec::new();
    for (_, size, path) in entries {
        if bytes <= bytes_max {
            break;
        }
        bytes -= size;
        gone.push(path.as_path());
    }
    gone
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses what others could read or change.
fn check_alone(path: &Path, wanted: u32) -> Result<(), Unusable> {
    let path = path.to_owned();
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(source) => return Err(Unusable::Io { path, source }),
    };
    let (is_right, what) = match wanted {
        0o700 => (metadata.is_dir(), "a folder"),
        _ => (metadata.is_file(), "a file"),
    };
    if !is_right {
        return Err(Unusable::Kind { path, what });
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(Unusable::Owner {
            path,
            owner: metadata.uid(),
            user,
        });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Unusable::Open { path, mode, wanted });
    }
    Ok(())
}

/// The key of the folder, made where it is missing.
fn read_key(path: &Path) -> Result<Key, Unusable> {
    let failed = |source| Unusable::Io {
        path: path.to_owned(),
        source,
    };
    if !path.try_exists().map_err(failed)? {
        let mut key = [0; KEY_BYTES];
        let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key));
        random.map_err(failed)?;
        let unfinished = whole_file::write_unfinished(path, &key).map_err(failed)?;
        // Of two hosts that start at once, the first one's key holds.
        let linked = fs::hard_link(&unfinished, path);
        let removed = remove(&unfinished);
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => removed.map_err(failed)?,
        }
    }
    check_alone(path, 0o600)?;
    let key = fs::read(path).map_err(failed)?;
    let key = key.try_into().map_err(|_wrong| Unusable::Kind {
        path: path.to_owned(),
        what: "a key of 64 bytes",
    })?;
    Ok(Key(key))
}

/// Makes a name of everything that is hashed into it, in full length.
struct NameHasher(Sha256);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks for the short form.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{OpenOptions, Permissions};
    use std::time::Duration;

    use super::*;

    fn cache(folder: &Path) -> CompileCache {
        CompileCache::try_open(folder.join("cache")).unwrap()
    }

    fn entry(name: &str) -> Entry {
        Entry(hex(&Sha256::digest(name)))
    }

    #[test]
    fn what_was_put_is_there_for_the_next_host_too() {
        let folder = tempfile::tempdir().unwrap();
        let first = cache(folder.path());
        assert_eq!(first.get(&entry("a")), None);
        first.put(&entry("a"), b"code");
        let second = cache(folder.path());
        assert_eq!(second.get(&entry("a")).unwrap(), b"code");
        assert_eq!(second.get(&entry("b")), None);
        for name in [&entry("a").0, KEY_FILE] {
            let path = second.folder.join(name);
            let path = if path.exists() {
                path
            } else {
                path.with_extension(CODE)
            };
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(second.folder.metadata().unwrap().mode() & 0o777, 0o700);
        let left: Vec<_> = fs::read_dir(&second.folder).unwrap().collect();
        assert_eq!(left.len(), 3, "{left:?}");
    }

    #[test]
    fn an_entry_that_was_changed_cut_short_or_renamed_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let (a, b) = (entry("a"), entry("b"));
        for changed in [&b"coda"[..], b"cod", b"", b"codecode"] {
            cache.put(&a, b"code");
            fs::write(cache.path(&a, CODE), changed).unwrap();
            assert_eq!(cache.get(&a), None, "{changed:?}");
        }
        cache.put(&a, b"code");
        assert!(cache.get(&a).is_some());
        for extension in [CODE, MARK] {
            fs::copy(cache.path(&a, extension), cache.path(&b, extension)).unwrap();
        }
        assert_eq!(cache.get(&b), None);
        fs::write(cache.path(&a, MARK), [0; 32]).unwrap();
        assert_eq!(cache.get(&a), None);
    }

    #[test]
    fn an_entry_of_another_hosts_folder_is_not_believed() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (cache(here.path()), cache(there.path()));
        there.put(&entry("a"), b"code");
        for extension in [CODE, MARK] {
            let file = there.path(&entry("a"), extension);
            fs::copy(file, here.path(&entry("a"), extension)).unwrap();
        }
        assert_eq!(here.get(&entry("a")), None);
        assert!(there.get(&entry("a")).is_some());
    }

    #[test]
    fn a_folder_or_key_that_others_may_open_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = cache(folder.path()).folder;
        let refusal = || {
            CompileCache::try_open(path.clone())
                .unwrap_err()
                .to_string()
        };
        fs::set_permissions(&path, Permissions::from_mode(0o750)).unwrap();
        assert!(refusal().contains(&format!("(mode 750): run `chmod 700 {}`", path.display())));
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let key = path.join(KEY_FILE);
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        assert!(refusal().contains(&format!("`chmod 600 {}`", key.display())));
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        fs::write(&key, b"short").unwrap();
        assert!(refusal().contains("is not a key of 64 bytes"));
    }

    #[test]
    fn what_is_no_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cache"), b"").unwrap();
        let refusal = CompileCache::try_open(folder.path().join("cache")).unwrap_err();
        assert!(refusal.to_string().contains("`compile_cache: off`"));
    }

    #[test]
    fn the_longest_unused_entries_make_room() {
        let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let entries = [
            (at(1), 5, PathBuf::from("a")),
            (at(2), 5, PathBuf::from("b")),
            (at(3), 5, PathBuf::from("c")),
        ];
        assert!(too_many(&entries, 15).is_empty());
        assert_eq!(too_many(&entries, 14), [Path::new("a")]);
        assert_eq!(too_many(&entries, 9), [Path::new("a"), Path::new("b")]);
    }

    #[test]
    fn unfinished_files_of_hosts_that_ended_are_removed() {
        const LONG: Duration = Duration::from_hours(2);
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let (old, young) = (cache.folder.join("1-1.new"), cache.folder.join("1-2.new"));
        for path in [&old, &young] {
            fs::write(path, b"half").unwrap();
        }
        let long_ago = SystemTime::now() - LONG;
        let file = OpenOptions::new().write(true).open(&old).unwrap();
        file.set_modified(long_ago).unwrap();
        cache.put(&entry("a"), b"code");
        assert!(!old.exists() && young.exists());
    }
}
