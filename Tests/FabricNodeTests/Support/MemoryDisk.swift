import FabricCore

/// A disk in memory that never fails: what the control plane's database stands on here.
final class MemoryDisk: Disk {
    private final class Contents: DiskFile {
        private var bytes: [UInt8] = []

        func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
            let available = bytes.dropFirst(Int(offset)).prefix(buffer.count)
            buffer.copyBytes(from: available)
            return available.count
        }

        func write(_ buffer: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
            let range = Int(offset)..<Int(offset) + buffer.count
            if bytes.count < range.upperBound { try truncate(to: Int64(range.upperBound)) }
            bytes.replaceSubrange(range, with: buffer)
        }

        func truncate(to size: Int64) throws(DiskError) {
            bytes = Array(bytes.prefix(Int(size)))
            bytes += [UInt8](repeating: 0, count: Int(size) - bytes.count)
        }

        func sync() throws(DiskError) {}
        func size() throws(DiskError) -> Int64 { Int64(bytes.count) }
    }

    private var files: [String: Contents] = [:]

    func open(_ name: String) throws(DiskError) -> any DiskFile {
        let file = files[name] ?? Contents()
        files[name] = file
        return file
    }

    func delete(_ name: String) throws(DiskError) { files[name] = nil }
    func exists(_ name: String) -> Bool { files[name] != nil }
}
