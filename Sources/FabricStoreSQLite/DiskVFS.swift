internal import CFabricSQLite
internal import FabricCore

/// A SQLite VFS over a `Disk`: one per open store, registered under a name of its own.
///
/// After `cutOff` no operation reaches the disk any more; all of them fail. That is how a store is dropped as a crash
/// would drop it, since SQLite writes when a connection is closed.
final class DiskVFS {
    private let disk: any Disk
    private let random: any RandomSource
    private var handle: OpaquePointer?
    private var isCutOff = false
    /// The last failure of the disk, for messages.
    private(set) var lastFailure: DiskError?
    private let mainName: String
    private weak var mainFile: OpenFile?

    /// `name` is that of the database's main file. Nil when SQLite cannot take another VFS.
    init?(disk: any Disk, name: String, random: any RandomSource) {
        self.disk = disk
        mainName = name
        self.random = random
        var table = fabric_disk()
        table.context = Unmanaged.passUnretained(self).toOpaque()
        DiskVFS.fillNameFunctions(&table)
        DiskVFS.fillFileFunctions(&table)
        handle = fabric_vfs_create(table)
        if handle == nil { return nil }
    }

    deinit { if let handle { fabric_vfs_destroy(handle) } }

    /// The size of the database's main file, which is open.
    func mainFileSize() throws(DiskError) -> Int64 {
        guard let mainFile else { throw .notFound }
        return try mainFile.file.size()
    }

    var name: String { String(cString: fabric_vfs_name(handle)) }

    func cutOff() { isCutOff = true }

    func forgetFailure() { lastFailure = nil }

    static func describe(_ error: DiskError) -> String {
        switch error {
        case .full: "the disk is full"
        case .notFound: "no such file"
        case .permission: "permission denied: a file that others can reach, or that belongs to somebody else"
        case .failed(let code): "the disk failed with code \(code)"
        }
    }

    /// One open file, as the table's `file`.
    fileprivate final class OpenFile {
        let file: any DiskFile
        unowned let vfs: DiskVFS

        init(_ file: any DiskFile, _ vfs: DiskVFS) {
            self.file = file
            self.vfs = vfs
        }
    }

    /// Runs one operation of the disk and turns its error into an answer of the table.
    fileprivate func perform(_ body: () throws(DiskError) -> Void) -> CInt {
        if isCutOff { return CInt(FABRIC_DISK_FAILED) }
        do {
            try body()
            return CInt(FABRIC_DISK_OK)
        } catch {
            switch error {
            case .full:
                lastFailure = error
                return CInt(FABRIC_DISK_FULL)
            case .notFound: return CInt(FABRIC_DISK_NOT_FOUND)
            case .permission, .failed:
                lastFailure = error
                return CInt(FABRIC_DISK_FAILED)
            }
        }
    }

    private static func fillNameFunctions(_ table: inout fabric_disk) {
        table.open = { context, name, result in
            let vfs = DiskVFS.from(context)
            guard let name, let result else { return CInt(FABRIC_DISK_FAILED) }
            return vfs.perform { () throws(DiskError) in
                let name = String(cString: name)
                let file = OpenFile(try vfs.disk.open(name), vfs)
                if name == vfs.mainName { vfs.mainFile = file }
                result.pointee = Unmanaged.passRetained(file).toOpaque()
            }
        }
        table.remove = { context, name in
            let vfs = DiskVFS.from(context)
            guard let name else { return CInt(FABRIC_DISK_FAILED) }
            return vfs.perform { () throws(DiskError) in try vfs.disk.delete(String(cString: name)) }
        }
        table.exists = { context, name in
            let vfs = DiskVFS.from(context)
            guard let name, !vfs.isCutOff else { return -1 }
            return vfs.disk.exists(String(cString: name)) ? 1 : 0
        }
        table.randomness = { context, buffer, count in
            guard let buffer, count > 0 else { return }
            DiskVFS.from(context).random.fill(UnsafeMutableRawBufferPointer(start: buffer, count: Int(count)))
        }
    }

    private static func fillFileFunctions(_ table: inout fabric_disk) {
        table.read = { file, buffer, count, offset in
            let open = DiskVFS.openFile(file)
            guard let buffer else { return -1 }
            var got = -1
            _ = open.vfs.perform { () throws(DiskError) in
                got = try open.file.read(UnsafeMutableRawBufferPointer(start: buffer, count: Int(count)), at: offset)
            }
            return CInt(got)
        }
        table.write = { file, buffer, count, offset in
            let open = DiskVFS.openFile(file)
            return open.vfs.perform { () throws(DiskError) in
                try open.file.write(UnsafeRawBufferPointer(start: buffer, count: Int(count)), at: offset)
            }
        }
        table.truncate = { file, size in
            let open = DiskVFS.openFile(file)
            return open.vfs.perform { () throws(DiskError) in try open.file.truncate(to: size) }
        }
        table.sync = { file in
            let open = DiskVFS.openFile(file)
            return open.vfs.perform { () throws(DiskError) in try open.file.sync() }
        }
        table.size = { file in
            let open = DiskVFS.openFile(file)
            var size: Int64 = -1
            _ = open.vfs.perform { () throws(DiskError) in size = try open.file.size() }
            return size
        }
        table.close = { file in
            if let file { Unmanaged<OpenFile>.fromOpaque(file).release() }
        }
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> DiskVFS {
        Unmanaged<DiskVFS>.fromOpaque(context!).takeUnretainedValue()
    }

    private static func openFile(_ file: UnsafeMutableRawPointer?) -> OpenFile {
        Unmanaged<OpenFile>.fromOpaque(file!).takeUnretainedValue()
    }
}
