//! Which number an id has, in one cache line an id. It must not know when ids leave: it is told which
//! numbers are in the window, and takes everything else for room.

/// Numbers in a bucket; the eighth lane says whether the next bucket must be looked at too.
const SLOTS: usize = 7;
const OVERFLOW: usize = SLOTS;
const SLOT_BITS: u32 = (1 << SLOTS) - 1;

/// Ids a bucket on average, at most. With four, one bucket in twenty overflows (Poisson).
const IDS_PER_BUCKET_MAX: usize = 4;

/// Buckets of the smallest table: 2 KiB, because most partitions of most topics are quiet.
const BUCKETS_MIN: usize = 32;

/// A run of numbers that are in the window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Numbers {
    /// The number that follows the run.
    pub(super) fn next(self) -> u32 {
        self.first.wrapping_add(self.count)
    }

    fn hold(self, number: u32) -> bool {
        number.wrapping_sub(self.first) < self.count
    }
}

/// One cache line. An id is in the bucket that its hash names, or in one of those that follow when it was
/// full. A number that has left the window is room for another.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    /// Further bits of the ids, so that the wrong ones are nearly never looked up in the order.
    tags: [u32; 8],
    /// In the last lane: the latest id that found no room here. While it is in the window, ids of this
    /// bucket may be in the next.
    numbers: [u32; 8],
}

/// Where an id is, or where it can be put.
pub(super) enum Found {
    /// Its place in the order.
    Known(usize),
    Free(Free),
}

/// Room for an id.
pub(super) struct Free {
    home: usize,
    bucket: usize,
    slot: usize,
}

/// Finds numbers by ids.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// A power of two of them, or none.
    buckets: Vec<Bucket>,
}

impl Table {
    /// How many ids it takes before it grows.
    pub(super) fn ids_max(&self) -> usize {
        self.buckets.len() * IDS_PER_BUCKET_MAX
    }

    /// Whether it must grow before it takes another id.
    pub(super) fn is_full(&self, numbers: Numbers) -> bool {
        numbers.count as usize >= self.ids_max()
    }

    /// Doubles it. `id_at` knows the ids by their place in the order.
    #[cold]
    pub(super) fn grow(&mut self, numbers: Numbers, id_at: impl Fn(usize) -> [u64; 2]) {
        let buckets = (self.buckets.len() * 2).max(BUCKETS_MIN);
        // Numbers count as room when they are outside the window, and this one has just left.
        let room = numbers.first.wrapping_sub(1);
        let empty = Bucket {
            tags: [0; 8],
            numbers: [room; 8],
        };
        self.buckets.clear();
        self.buckets.resize(buckets, empty);
        for place in 0..numbers.count {
            let id = id_at(place as usize);
            let before = Numbers {
                count: place,
                ..numbers
            };
            // An id that was forgotten may be there twice.
            if let Found::Free(free) = self.find(id, before, |_| false) {
                self.put(free, id, before.next());
            }
        }
    }

    /// Reads from the line where a lookup of the id begins.
    #[inline]
    pub(super) fn touch(&self, id: [u64; 2]) -> u32 {
        let mask = self.buckets.len().wrapping_sub(1);
        let bucket = self.buckets.get(id[0] as usize & mask);
        bucket.map_or(0, |bucket| bucket.numbers[OVERFLOW])
    }

    /// Looks an id up. `is_it` compares it with the one at a place of the order.
    #[inline]
    pub(super) fn find(
        &self,
        id: [u64; 2],
        numbers: Numbers,
        is_it: impl Fn(usize) -> bool,
    ) -> Found {
        let (home, tag) = (id[0] as usize, (id[0] >> 32) as u32);
        let mask = self.buckets.len().wrapping_sub(1);
        let mut free = None;
        // There is room somewhere, because there are more slots than numbers.
        for at in 0..self.buckets.len() {
            let bucket = home.wrapping_add(at) & mask;
            let (same, inside) = self.buckets[bucket].look(tag, numbers);
            let mut same = same & inside & SLOT_BITS;
            while same != 0 {
                let number = self.buckets[bucket].numbers[same.trailing_zeros() as usize];
                let place = number.wrapping_sub(numbers.first) as usize;
                if is_it(place) {
                    return Found::Known(place);
                }
                same &= same - 1;
            }
            let room = !inside & SLOT_BITS;
            if free.is_none() && room != 0 {
                free = Some((bucket, room.trailing_zeros() as usize));
            }
            let overflows = inside & (1 << OVERFLOW) != 0;
            if let Some((bucket, slot)) = free
                && !overflows
            {
                return Found::Free(Free {
                    home: home & mask,
                    bucket,
                    slot,
                });
            }
        }
        let (bucket, slot) = free.unwrap_or_default();
        Found::Free(Free {
            home: home & mask,
            bucket,
            slot,
        })
    }

    /// Gives an id its number.
    #[inline]
    pub(super) fn put(&mut self, free: Free, id: [u64; 2], number: u32) {
        let mask = self.buckets.len().wrapping_sub(1);
        let mut full = free.home;
        while full != free.bucket {
            self.buckets[full].numbers[OVERFLOW] = number;
            full = full.wrapping_add(1) & mask;
        }
        let bucket = &mut self.buckets[free.bucket];
        bucket.tags[free.slot] = (id[0] >> 32) as u32;
        bucket.numbers[free.slot] = number;
    }
}

impl Bucket {
    /// By lane, as bits: which have the tag, and which hold a number of the window.
    #[inline]
    fn look(&self, tag: u32, numbers: Numbers) -> (u32, u32) {
        let (mut same, mut inside) = (0, 0);
        for lane in 0..8 {
            same |= u32::from(self.tags[lane] == tag) << lane;
            inside |= u32::from(numbers.hold(self.numbers[lane])) << lane;
        }
        (same, inside)
    }
}
