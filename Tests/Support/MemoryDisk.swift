public import FabricCore

/// A disk in memory, without faults, whose syncs cost nothing.
public final class MemoryDisk: Disk {
    private var files: [String: File] = [:]

    public init() {}

    private final class File: DiskFile {
        private var bytes: [UInt8] = []

        func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
            let start = min(Int(offset), bytes.count)
            let count = min(buffer.count, bytes.count - start)
            bytes.withUnsafeBytes {
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
            }
            return count
        }

        func write(_ buffer: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
            let end = Int(offset) + buffer.count
            if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            bytes.withUnsafeMutableBytes { target in
                UnsafeMutableRawBufferPointer(rebasing: target[Int(offset)..<end]).copyMemory(from: buffer)
            }
        }

        func truncate(to size: Int64) throws(DiskError) {
            if size < bytes.count {
                bytes.removeLast(bytes.count - Int(size))
            } else {
                bytes += [UInt8](repeating: 0, count: Int(size) - bytes.count)
            }
        }

        func sync() throws(DiskError) {}
        func size() throws(DiskError) -> Int64 { Int64(bytes.count) }
    }

    public func open(_ name: String) throws(DiskError) -> any DiskFile {
        if let file = files[name] { return file }
        let file = File()
        files[name] = file
        return file
    }

    public func delete(_ name: String) throws(DiskError) { files[name] = nil }
    public func exists(_ name: String) -> Bool { files[name] != nil }
}
