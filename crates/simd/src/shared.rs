//! One result, written by several threads.

use core::marker::PhantomData;
use core::ops::Range;

/// A kernel's handle on its output.
///
/// A kernel that runs as `part` of `parts` writes only the outputs of its part, but these need not be one contiguous range (a tile of
/// a matrix is not), so each part is handed a `SharedOut` of the whole output and takes the segments it owns by [`slice_mut`].
///
/// One handle behaves like the `&mut [T]` it was made from. Several handles of one output come only from [`alias`], whose caller
/// vouches that the kernel's parts are disjoint; kernels themselves stay free of `unsafe`.
///
/// [`slice_mut`]: Self::slice_mut
/// [`alias`]: Self::alias
#[derive(Debug)]
pub struct SharedOut<'a, T = f32> {
    data: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: a handle is as good as the `&mut [T]` it came from, and handles on one output touch disjoint elements (see `alias`).
unsafe impl<T: Send> Send for SharedOut<'_, T> {}

impl<'a, T> SharedOut<'a, T> {
    /// The only handle on `data`: what a single-threaded caller, or a test that runs the parts in turn, passes.
    pub fn new(data: &'a mut [T]) -> Self {
        Self { data: data.as_mut_ptr(), len: data.len(), owner: PhantomData }
    }

    /// Another handle on the same output, for another part.
    ///
    /// # Safety
    /// While two handles on one output are in use, no element may be reached through both: each is passed to a kernel as a
    /// different `part` of the same `parts`, whose contract is that the segments its parts take are disjoint.
    pub unsafe fn alias(&self) -> Self {
        Self { ..*self }
    }

    /// Elements of the whole output.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when the output has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A segment, to read (what an in-place input left there) and to write.
    ///
    /// # Panics
    /// When the range is not within the output.
    #[inline]
    pub fn slice_mut(&mut self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of an output of {}", self.len);
        // SAFETY: the range is in bounds; `&mut self` keeps segments of this handle apart, and `alias` those of other handles.
        unsafe { core::slice::from_raw_parts_mut(self.data.add(range.start), range.end - range.start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_write_their_segments() {
        let mut data = vec![0; 10];
        let mut even = SharedOut::new(&mut data);
        // SAFETY: the two handles take alternate pairs.
        let mut odd = unsafe { even.alias() };
        std::thread::scope(|scope| {
            scope.spawn(move || (0..10).step_by(4).for_each(|i| even.slice_mut(i..i + 2).fill(1)));
            scope.spawn(move || (2..10).step_by(4).for_each(|i| odd.slice_mut(i..i + 2).fill(2)));
        });
        assert_eq!(data, [1, 1, 2, 2, 1, 1, 2, 2, 1, 1]);
    }

    #[test]
    #[should_panic(expected = "4..11 of an output of 10")]
    fn bounds_are_checked() {
        SharedOut::new(&mut [0.0; 10]).slice_mut(4..11);
    }
}
