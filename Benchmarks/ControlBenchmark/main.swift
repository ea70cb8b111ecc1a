// What the control plane does in a second: enrolments, one by one and many at once, and heartbeats. Run it in release:
//
//     scripts/bench ControlBenchmark
//     ControlBenchmark storm HOSTS        # the enrolments at once alone
//
// On SQLite in memory, in CPU time; on SQLite in a directory with real syncs, in the time that passes; and on the PostgreSQL
// that RAP_POSTGRES names. The exit status is 1 when a goal is missed.

import FabricCore
import FabricPostgresTestSupport
import FabricStoreSQLite
import FabricTestSupport
import Glibc

func sqlite(_ disk: any Disk, _ name: String) throws -> SQLiteStore {
    try SQLiteStore(disk: disk, name: name, random: SeededRandom(seed: 1, stream: name))
}

func measureHeartbeats(in directory: TemporaryDirectory) throws -> Bool {
    var isMet = try HeartbeatMeasurement(try sqlite(MemoryDisk(), "control.db"), nodes: 2_048, .processor)
        .report("heartbeats in memory, CPU time", rounds: 20)
    let disk = try DirectoryDisk(path: directory.path)
    let onDisk = try HeartbeatMeasurement(try sqlite(disk, "heartbeats.db"), nodes: 1_024, .wall)
        .report("heartbeats in a directory, with syncs, wall time", rounds: 20)
    isMet = isMet && onDisk
    guard ScratchSchema.server != nil else {
        print("heartbeats on PostgreSQL: not measured, RAP_POSTGRES names no server")
        return isMet
    }
    let schema = try ScratchSchema()
    let onPostgres = try HeartbeatMeasurement(try schema.connect(), nodes: 1_024, .wall)
        .report("heartbeats on PostgreSQL without syncs, wall time", rounds: 20)
    return isMet && onPostgres
}

func measureStorms(in directory: TemporaryDirectory, hosts: Int) throws -> Bool {
    var isMet = try measureStorm(sqlite(MemoryDisk(), "storm.db"), "in memory, CPU time", hosts: hosts, .processor)
    let disk = try DirectoryDisk(path: directory.path)
    let onDisk = try measureStorm(
        sqlite(disk, "storm.db"), "in a directory, with syncs, wall time", hosts: hosts, .wall)
    isMet = isMet && onDisk
    guard ScratchSchema.server != nil else {
        print("enrolments on PostgreSQL: not measured, RAP_POSTGRES names no server")
        return isMet
    }
    let schema = try ScratchSchema()
    let onPostgres = try measureStorm(
        schema.connect(), "on PostgreSQL without syncs, wall time", hosts: hosts, .wall)
    return isMet && onPostgres
}

let directory = try TemporaryDirectory()
defer { directory.remove() }
let arguments = CommandLine.arguments.dropFirst()
var isMet = true
switch (arguments.first, arguments.dropFirst().first.flatMap { Int($0) }) {
case (nil, _):
    try measureEnrolments(in: directory)
    isMet = try measureStorms(in: directory, hosts: 1_000)
    isMet = try measureHeartbeats(in: directory) && isMet
case ("storm", let hosts?) where hosts > 0: isMet = try measureStorms(in: directory, hosts: hosts)
default:
    print("usage: ControlBenchmark [storm HOSTS]")
    exit(2)
}
directory.remove()
exit(isMet ? 0 : 1)
