internal import FabricCommand
internal import Foundation

/// How glibc's malloc lays out a process's heap. What does not depend on addresses comes out the same under both.
enum HeapLayout: Int {
    /// As this program runs usually, on huge pages.
    case first = 1
    /// On small pages: huge ones round the heap's growth up to 2 MiB, so that the padding alone would change nothing.
    case second = 2

    /// Added to a process's environment. The second makes the checks of exclusivity too.
    var environment: [(String, String)] {
        let padding = [("MALLOC_TOP_PAD_", "\(rawValue * 65_536)"), ("MALLOC_PERTURB_", "\(rawValue * 37)")]
        return self == .first
            ? padding : padding + [("GLIBC_TUNABLES", Self.onSmallPages), (exclusivitySetting, "checked")]
    }

    /// The tunables of this process, with small pages.
    private static var onSmallPages: String {
        let key = "glibc.malloc.hugetlb="
        let others = (ProcessInfo.processInfo.environment["GLIBC_TUNABLES"] ?? "").split(separator: ":")
            .map(String.init).filter { !$0.hasPrefix(key) }
        return (others + [key + "0"]).joined(separator: ":")
    }
}
