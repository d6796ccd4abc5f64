//! Temporary.
pub mod disk {
    use holdfast_host::*;
    use std::{io, path::Path, time::Duration};
    #[derive(Clone, Default)]
    pub struct SimDisk;
    impl SimDisk {
        pub fn new(_: u64, _: u32, _: &crate::plan::DiskProfile) -> Self {
            SimDisk
        }
        pub fn power_cut(&mut self) {}
        pub fn kill(&mut self) {}
        pub fn take_elapsed(&mut self) -> Duration {
            Duration::ZERO
        }
    }
    fn no<T>() -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }
    impl Disk for SimDisk {
        fn open(&mut self, _: &Path, _: OpenMode) -> io::Result<FileId> {
            no()
        }
        fn close(&mut self, _: FileId) {}
        fn read_at(&mut self, _: FileId, _: u64, _: &mut [u8]) -> io::Result<usize> {
            no()
        }
        fn write_at(&mut self, _: FileId, _: u64, _: &[u8]) -> io::Result<usize> {
            no()
        }
        fn len(&mut self, _: FileId) -> io::Result<u64> {
            no()
        }
        fn set_len(&mut self, _: FileId, _: u64) -> io::Result<()> {
            no()
        }
        fn sync(&mut self, _: FileId) -> io::Result<()> {
            no()
        }
        fn rename(&mut self, _: &Path, _: &Path) -> io::Result<()> {
            no()
        }
        fn remove(&mut self, _: &Path) -> io::Result<()> {
            no()
        }
        fn list(&mut self, _: &Path) -> io::Result<Vec<String>> {
            no()
        }
        fn create_dir(&mut self, _: &Path) -> io::Result<()> {
            no()
        }
        fn sync_dir(&mut self, _: &Path) -> io::Result<()> {
            no()
        }
        fn lock(&mut self, _: &Path) -> io::Result<FileId> {
            no()
        }
    }
}
