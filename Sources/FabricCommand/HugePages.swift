internal import Foundation

/// Puts the heap on huge pages, for programs whose work is spread over hundreds of megabytes: the translation of addresses
/// costs a large simulation time otherwise (docs/benchmarks.md has what was measured).
///
/// glibc reads this setting only when a process begins (malloc tunables, `glibc.malloc.hugetlb`), so the program runs itself
/// once more, with the same process number. Where that fails, or somebody has set tunables himself, nothing changes.
public func runOnHugePages() {
    let setting = "GLIBC_TUNABLES"
    // It was started by way of /proc/self/exe perhaps, after which the kernel calls it “exe”.
    defer { nameProcess() }
    // A program with more rights than its caller (set-user-ID, file capabilities) loses its tunables when it begins, and
    // would run itself for ever.
    guard getenv(setting) == nil, !hasMoreRights else { return }
    setenv(setting, "glibc.malloc.hugetlb=1", 1)
    execv("/proc/self/exe", CommandLine.unsafeArgv)
}

/// What the kernel tells the loader in AT_SECURE; true where it can't be found out. Swift's Glibc module has no getauxval(3).
private var hasMoreRights: Bool {
    guard let vector = try? InputFile.read("/proc/self/auxv", limit: 65_536) else { return true }
    let secure: UInt = 23
    return vector.withUnsafeBytes { bytes in
        let words = bytes.count / MemoryLayout<UInt>.size
        for word in stride(from: 0, to: words - 1, by: 2) {
            func number(_ index: Int) -> UInt {
                bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<UInt>.size, as: UInt.self)
            }
            if number(word) == secure { return number(word + 1) != 0 }
        }
        return true
    }
}

/// The process is listed by its program's file name, as others are.
private func nameProcess() {
    guard let name = CommandLine.arguments.first?.split(separator: "/").last else { return }
    let file = open("/proc/self/comm", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    // The kernel keeps 15 bytes. A name is for people alone, so a failure does not matter.
    _ = Array(name.utf8).withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    close(file)
}
