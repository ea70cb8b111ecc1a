internal import Foundation

/// Puts the heap on huge pages, for programs whose work is spread over hundreds of megabytes: a large simulation spends a
/// tenth of its time on the translation of addresses otherwise.
///
/// glibc reads this setting only when a process begins (malloc tunables, `glibc.malloc.hugetlb`), so the program runs itself
/// once more, with the same process number. Where that fails, or somebody has set tunables himself, nothing changes.
public func runOnHugePages() {
    let setting = "GLIBC_TUNABLES"
    guard getenv(setting) == nil else { return }
    setenv(setting, "glibc.malloc.hugetlb=1", 1)
    execv("/proc/self/exe", CommandLine.unsafeArgv)
}
