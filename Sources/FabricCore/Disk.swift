/// Random-access files for the store: a directory on Linux, pending and durable pages in the simulator.
public protocol Disk: AnyObject {
    /// Opens or creates.
    func open(_ name: String) throws(DiskError) -> any DiskFile
    func delete(_ name: String) throws(DiskError)
    func exists(_ name: String) -> Bool
}

public protocol DiskFile: AnyObject {
    /// Returns the number of bytes read; fewer than asked for only at the end of the file.
    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int
    func write(_ buffer: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError)
    func truncate(to size: Int64) throws(DiskError)
    /// When this returns, everything written is durable. When it throws, nothing is known.
    func sync() throws(DiskError)
    func size() throws(DiskError) -> Int64
}

public enum DiskError: Error, Hashable, Sendable {
    case full
    case notFound
    case permission
    case failed(code: Int32)
}

extension DiskError {
    /// What is wrong and the mend, for people.
    public var words: String {
        switch self {
        case .full: "the disk is full, or a quota is used up: make room"
        case .notFound: "the directory is gone: put it back, and start the program again"
        case .permission:
            "the file system is read-only, or this user may not write there: mount it writable, or give the directory to the user"
        case .failed(let code): "the disk failed (errno \(code)): look for its errors in the kernel's log"
        }
    }
}
