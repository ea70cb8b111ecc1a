public import FabricCore
internal import Glibc

/// Random bytes of the kernel's generator (`getrandom(2)` through glibc's `getentropy`). Safe on any thread.
public final class KernelRandom: RandomSource {
    /// What one call of `getentropy` gives at most.
    private static let chunk = 256

    public init() {}

    /// Blocks only before the kernel's generator is first seeded. Ends the process when the kernel gives nothing:
    /// without randomness there is no key to go on with.
    public func fill(_ buffer: UnsafeMutableRawBufferPointer) {
        var offset = 0
        while offset < buffer.count {
            let count = min(KernelRandom.chunk, buffer.count - offset)
            guard getentropy(buffer.baseAddress! + offset, count) == 0 else {
                fatalError("getentropy failed with errno \(errno)")
            }
            offset += count
        }
    }
}
