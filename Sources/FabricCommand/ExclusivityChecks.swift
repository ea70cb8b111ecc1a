internal import Foundation

/// Leaves out the checks of exclusivity (that nobody reads what another is changing) that a program makes while it runs, for
/// programs that read nothing but what their user wrote: they cost a simulation time (docs/benchmarks.md has how much).
///
/// Swift's runtime has a switch for it, which debuggers use. Where it is missing nothing changes, and nothing does in a
/// process whose environment has RAP_EXCLUSIVITY=checked, or in a debug build. One of the two processes of `rap-sim check`
/// makes the checks.
public func leaveOutExclusivityChecks() {
    #if !DEBUG
        guard getenv(exclusivitySetting) == nil else { return }
        let whole = dlopen(nil, RTLD_NOW)
        dlsym(whole, "_swift_disableExclusivityChecking")?.assumingMemoryBound(to: Bool.self).pointee = true
    #endif
}

/// Set to anything, the checks stay.
public let exclusivitySetting = "RAP_EXCLUSIVITY"
