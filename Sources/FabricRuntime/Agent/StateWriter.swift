internal import Dispatch
internal import FabricCore
internal import FabricLinux

/// Durable writes on a thread of their own, in order: an fsync may take long, and packets must not wait for it.
final class StateWriter: Sendable {
    // The directory is touched on the queue alone.
    private struct Confined: @unchecked Sendable { let directory: StateDirectory }

    private let confined: Confined
    private let queue = DispatchQueue(label: "rap.state")

    init(directory: StateDirectory) { confined = Confined(directory: directory) }

    func write(_ name: String, _ bytes: [UInt8], completion: @escaping @Sendable (DiskError?) -> Void) {
        queue.async { [confined] in
            do throws(DiskError) {
                try confined.directory.write(name, bytes)
                completion(nil)
            } catch {
                completion(error)
            }
        }
    }
}
