//! Datagrams under way.

/// Buffers of datagrams under way, named by numbers. One that has arrived leaves its buffer to the next.
#[derive(Clone, Debug, Default)]
pub struct Datagrams {
    buffers: Vec<Vec<u8>>,
    free: Vec<u32>,
}

impl Datagrams {
    /// Keeps a copy of `bytes`.
    #[inline]
    pub fn keep(&mut self, bytes: &[u8]) -> u32 {
        let name = match self.free.pop() {
            Some(name) => name,
            None => {
                self.buffers.push(Vec::new());
                self.buffers.len() as u32 - 1
            }
        };
        let buffer = &mut self.buffers[name as usize];
        buffer.clear();
        buffer.extend_from_slice(bytes);
        name
    }

    /// Takes a buffer out, to be given back.
    #[inline]
    pub fn take(&mut self, name: u32) -> Vec<u8> {
        std::mem::take(&mut self.buffers[name as usize])
    }

    /// Takes a buffer back, whose datagram is needed no more.
    #[inline]
    pub fn give_back(&mut self, name: u32, buffer: Vec<u8>) {
        self.buffers[name as usize] = buffer;
        self.free.push(name);
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.buffers.len() - self.free.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the buffers take, free ones included.
    pub fn bytes(&self) -> usize {
        let buffers: usize = self.buffers.iter().map(Vec::capacity).sum();
        buffers + self.buffers.capacity() * size_of::<Vec<u8>>() + self.free.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let mut datagrams = Datagrams::default();
        let (a, b) = (datagrams.keep(b"a"), datagrams.keep(b"bb"));
        assert_eq!(datagrams.len(), 2);
        let taken = datagrams.take(a);
        assert_eq!(taken, b"a");
        datagrams.give_back(a, taken);
        assert_eq!(datagrams.keep(b"ccc"), a);
        assert_eq!(datagrams.take(a), b"ccc");
        assert_eq!(datagrams.take(b), b"bb");
    }
}
